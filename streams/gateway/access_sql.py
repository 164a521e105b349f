"""Access statements of SQL: CREATE USER, GRANT, SHOW ROW POLICIES and their like, carried out on the gateway's entities.

    is_access_statement(source)                      # by its first words
    administration.run(canonical, user, database)    # None, or the SELECT that answers a SHOW

The engine has parsed the statement already, and written it again in one canonical form (formatQuerySingleLine): that form is
read here, so errors of syntax are the engine's. What is not offered says so, with code 48.
"""

from __future__ import annotations

from collections.abc import Iterable

from streams.gateway.access import GRANTS_FULL, GRANTS_READ, User, quoted
from streams.gateway.access_changes import Names, change_of
from streams.gateway.access_reader import Reader, unsupported
from streams.gateway.entities import Entities, Policy
from streams.gateway.errors import GatewayError
from streams.gateway.sql import names, tokens

__all__ = ["Administration", "is_access_statement"]

ENTITIES = names("USER USERS ROLE ROLES ROW POLICY POLICIES GRANTS ACCESS QUOTA QUOTAS SETTINGS PROFILE PROFILES")


def is_access_statement(source: bytes) -> bool:
    words = [token.text.upper().decode(errors="replace") for token, _ in zip(tokens(source), range(4), strict=False)]
    match words:
        case ["GRANT" | "REVOKE", *_] | ["SET", "DEFAULT", "ROLE", *_]:
            return True
        case ["SHOW", "CREATE" | "CURRENT" | "ENABLED", entity, *_] | ["SHOW" | "CREATE" | "ALTER" | "DROP", entity, *_]:
            # SHOW SETTINGS is about settings, not about profiles of them.
            return entity in ENTITIES and words[:2] != ["SHOW", "SETTINGS"]
    return False


class Administration:
    """Carries out access statements for those who may."""

    def __init__(self, entities: Entities) -> None:
        self.entities = entities

    def run(self, canonical: str, user: User, database: str) -> bytes | None:
        """Blocks: it writes a file. GatewayError for what is wrong, not allowed or not offered."""
        reader = Reader(canonical.encode())
        if reader.take("SHOW"):
            return self.show(reader, user, database)
        if user.read_only:
            raise GatewayError(497, "ACCESS_DENIED", f"{user.name}: Not enough privileges to change users, roles or policies")
        self.entities.change(change_of(reader, Names(self.entities, user, database)))
        return None

    def show(self, reader: Reader, user: User, database: str) -> bytes:
        state, entities = self.entities.state, self.entities
        if reader.take("CURRENT", "ROLES") or reader.take("ENABLED", "ROLES"):
            reader.end()
            return rows("role_name", user.current_roles)
        if reader.take("GRANTS"):
            who = reader.names() if reader.take("FOR") else (user.name,)
            reader.end()
            if user.read_only and set(who) != {user.name}:
                raise GatewayError(497, "ACCESS_DENIED", f"{user.name}: Not enough privileges to see grants of others")
            return rows("GRANTS", [line for name in who for line in grants(entities, name)])
        if user.read_only:
            raise GatewayError(497, "ACCESS_DENIED", f"{user.name}: Not enough privileges to see users, roles or policies")
        here = Names(entities, user, database)
        if reader.take("CREATE", "ROW", "POLICY"):
            policy = here.policy(state, here.policy_name(reader))
            reader.end()
            return rows("statement", [create_statement(policy)])
        if reader.take("ROW", "POLICIES"):
            if reader.take("ON"):
                schema, table = here.table(reader)
                reader.end()
                found = (policy for policy in state.policies.values() if (policy.database, policy.table) == (schema, table))
                return rows("name", sorted(policy.name for policy in found))
            reader.end()
            return rows("name", sorted(state.policies))
        for what, known in (("USERS", entities.fixed.keys() | state.users.keys()), ("ROLES", state.roles)):
            if reader.take(what):
                reader.end()
                return rows("name", sorted(known))
        raise unsupported(reader.text)


def rows(column: str, values: Iterable[str]) -> bytes:
    texts = ", ".join(map(quoted, values))
    return f"SELECT arrayJoin(CAST([{texts}], 'Array(String)')) AS {column}".encode()


def create_statement(policy: Policy) -> str:
    kind = "RESTRICTIVE" if policy.is_restrictive else "PERMISSIVE"
    who, grantees = ", ".join(policy.grantees.names), policy.grantees
    if grantees.is_all:
        who = "ALL EXCEPT " + ", ".join(grantees.excepted) if grantees.excepted else "ALL"
    to = f" TO {who}" if who else ""
    return f"CREATE ROW POLICY {policy.full_name} AS {kind} FOR SELECT USING {policy.condition}{to}"


def grants(entities: Entities, name: str) -> list[str]:
    state = entities.state
    fixed = entities.fixed.get(name)
    if fixed is None and name not in state.users and name not in state.roles:
        raise GatewayError(511, "UNKNOWN_ROLE", f"There is no role `{name}` in `user directories`")
    lines = list(fixed.grants or (GRANTS_READ if fixed.read_only else GRANTS_FULL)) if fixed else []
    lines += ["GRANT SELECT ON *.*"] if name in state.readers else []
    lines += [f"GRANT {role}" for role in sorted(state.granted.get(name, ()))]
    return [line.replace(" WITH", f" TO {name} WITH") if " WITH" in line else f"{line} TO {name}" for line in lines]
