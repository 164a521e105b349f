"""Statements that mean something else to the engine than to a server, and what to run in their place."""

from __future__ import annotations

import re
from itertools import pairwise

from streams.gateway.access import User, quoted
from streams.gateway.sql import replaced, tokens, unquoted

__all__ = ["show_create_system_table", "with_client_query_ids", "with_own_name"]

# The first line of log_comment: Exchange.mark.
CLIENT_QUERY_ID = b"splitByChar('\\n', Settings['log_comment'])[1]"
# Whether to look closer at all.
OWN_NAME = re.compile(rb"(current_?|enabled|\b)(user|roles)\b", re.IGNORECASE)


def with_client_query_ids(kill: bytes) -> bytes:
    """KILL QUERY by the ids that clients know; the engine has given the queries others."""
    return replaced(kill, "query_id", CLIENT_QUERY_ID)


def show_create_system_table(statement: bytes, database: str | None) -> bytes | None:
    """SHOW CREATE TABLE for the engine's own tables, of which it has no text; None for other statements."""
    words = [token for token in tokens(statement) if token.kind in ("word", "quoted")]
    if len(words) < 3 or not (words[0].is_word(b"SHOW") and words[1].is_word(b"CREATE")):
        return None
    parts: list[str] = []
    for word in words[3:] if words[2].is_word(b"TABLE") and len(words) > 3 else words[2:]:
        if parts and statement[word.start - 1 : word.start] != b".":
            break
        parts.append(unquoted(word))
    schema, table = parts if len(parts) == 2 else (database or "default", parts[0])
    where = f"WHERE database = {quoted(schema)} AND table = {quoted(table)}"
    columns = f"SELECT name, type FROM system.columns {where} ORDER BY position"
    return f"""
        SELECT concat('CREATE TABLE ', {quoted(schema)}, '.', {quoted(table)}, '\\n(\\n',
            arrayStringConcat(groupArray(concat('    `', name, '` ', type)), ',\\n'), '\\n)\\nENGINE = ',
            (SELECT any(engine) FROM system.tables {where})) AS statement
        FROM ({columns}) HAVING count() > 0""".encode()


def with_own_name(source: bytes, user: User, *, has_aliases: bool = True) -> bytes:
    """currentUser(), currentRoles() and their like as the gateway knows them: to the engine everybody is `default`.

    With aliases, so that columns keep their names.
    """
    if not OWN_NAME.search(source):
        return source
    roles = "CAST([" + ", ".join(map(quoted, user.current_roles)) + "], 'Array(String)')"
    known = dict.fromkeys(("currentuser", "current_user", "user"), quoted(user.name))
    known |= dict.fromkeys(("currentroles", "enabledroles"), roles)
    pieces, end = [], 0
    found = list(tokens(source))
    before = b""
    for name, (opening, closing) in zip(found, pairwise(found[1:]), strict=False):
        value = known.get(name.text.decode(errors="replace").lower()) if name.kind == "word" else None
        if value is not None and opening.text == b"(" and closing.text == b")" and before != b".":
            alias = f" AS `{name.text.decode()}()`" if has_aliases else ""
            pieces += [source[end : name.start], f"({value}{alias})".encode()]
            end = closing.end
        before = name.text
    return b"".join([*pieces, source[end:]])
