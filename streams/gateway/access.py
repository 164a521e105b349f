"""Who may do what: users, passwords, and the guard in front of read-only users.

Three layers, because no single one holds (each was tried against chDB 4.4):

1. Roles of the engine itself. All connections are chDB's user `default`, which has no rights of its own; a connection
   takes on the role of its gateway user with SET ROLE. That stops table functions, files as tables, writes, DDL.
2. `readonly = 1` and the caps below, set after everything else, so that no SETTINGS clause undoes them.
3. The guard, on the statement as the engine parses it (EXPLAIN AST): the scalar function file() reads any file in spite
   of 1 and 2, Python() reaches into this process, and SET ROLE would undo 1. One statement, of a kind that only reads.

This module does no I/O. Users, roles and row policies made in SQL: entities.py.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from streams.errors import ConfigError
from streams.gateway.errors import GatewayError
from streams.gateway.sql import is_number, names, tokens, unquoted

__all__ = [
    "NOBODY_ROLE",
    "READER_ROLE",
    "READ_CAPS",
    "Access",
    "User",
    "check_ast",
    "check_read_settings",
    "check_row_filters",
    "digest",
    "nodes",
    "quoted",
    "users_xml",
]

# What one query of a read-only user may take. Names are ClickHouse's own settings.
READ_CAPS: Mapping[str, int] = {
    "max_execution_time": 60,  # seconds
    "max_memory_usage": 2_000_000_000,  # bytes
    "max_result_rows": 1_000_000,
    "max_result_bytes": 1_000_000_000,
    "max_rows_to_read": 0,  # no cap, but may be lowered
    "max_threads": 2,
}

# Only what shapes the answer; whatever opens files, evaluates text, changes the dialect or lifts a cap is not here.
READ_SETTINGS = re.compile(
    r"((output_format|input_format|date_time|decimal|http)_(?!values|.*(schema|path|file|template))\w+|session_timezone"
    r"|extremes|limit|offset|max_block_size|join_use_nulls|final|result_overflow_mode|log_comment"
    r"|format_csv_(delimiter|null_representation)"
    # The JDBC driver sends it with everything; it means nothing without INSERT.
    r"|async_insert)\Z"
)
# The format Values takes expressions, and with them file(): in external tables and in format(Values, '...').
NO_EXPRESSIONS = {
    "input_format_values_interpret_expressions": "0",
    "input_format_values_deduce_templates_of_expressions": "0",
}

# A row filter is one condition among others to the engine, which likes to evaluate the cheap ones first: an error of the
# user's condition would then tell of rows that the filter hides (`WHERE toUInt8(secret) = 1`).
FILTER_FIRST = {
    "optimize_move_to_prewhere": "0",
    "query_plan_optimize_prewhere": "0",
    "query_plan_merge_filters": "0",
    "short_circuit_function_evaluation": "force_enable",
}

# Table functions that make rows of nothing, or of what the statement itself says. All others are forbidden: the engine
# knows about a hundred, among them eval(), which runs a text as a query.
SAFE_TABLE_FUNCTIONS = names(
    "numbers numbers_mt zeros zeros_mt generateseries generate_series primes values sqlstandardvalues generaterandom null"
    " view viewifpermitted viewexplain format fuzzjson"
)
# Functions that reach outside the database or into the process.
FORBIDDEN_FUNCTIONS = names(
    "file eval python catboostevaluate evalmlmethod addresstoline addresstolinewithinlines addresstosymbol demangle"
    " reversednsquery aiclassify aiembed aiextract aifilter aigenerate airedact aisimilarity aitranslate"
)

# What tells of other people's queries. The engine lets everybody read the database `system`, whatever is granted. All logs
# are private as well: `*_log`.
PRIVATE_TABLES = names(
    "query_log_engine processes user_processes statements session_query_ids errors stack_trace asynchronous_inserts"
    " query_cache mutations backups"
)

GRANTS_FULL = ("GRANT ALL ON *.* WITH GRANT OPTION",)
GRANTS_READ = ("GRANT SHOW, SELECT, dictGet ON *.*",)

# Roles of the engine for users made in SQL, who come after its start. Everybody may read the database `system`.
READER_ROLE, NOBODY_ROLE = "sql_reader", "sql_nobody"
SHARED_ROLES: Mapping[str, tuple[str, ...]] = {READER_ROLE: GRANTS_READ, NOBODY_ROLE: ()}


@dataclass(frozen=True, slots=True)
class User:
    """One who may log in. `password` is compared in constant time and never shown."""

    name: str
    password: str = field(default="", repr=False)
    read_only: bool = False
    caps: Mapping[str, int] = field(default_factory=dict)  # over READ_CAPS; only for read-only users
    row_filters: Mapping[str, str] = field(default_factory=dict)  # table -> SQL condition: a row policy
    grants: tuple[str, ...] = ()  # GRANT statements without grantee; default: all, or all reading
    # Of users made in SQL (entities.py): SHA-256 of password and salt; the role of the engine; roles made in SQL that hold.
    digest: str = field(default="", repr=False)
    salt: str = field(default="", repr=False)
    engine_role: str = ""
    roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.name):
            raise ConfigError(f"'{self.name}' cannot be a user's name", hint="letters, digits and _")
        if self.row_filters and not self.read_only:
            raise ConfigError(f"user '{self.name}' has row filters but may write", hint="make it read-only")
        for table in self.row_filters:
            # The engine would apply it only while the table's database is the current one.
            if "." not in table:
                hint = f"write database.{table}"
                raise ConfigError(f"user '{self.name}' has a row filter for '{table}' of no database", hint=hint)

    @property
    def role(self) -> str:
        """Its role in the engine."""
        return self.engine_role or f"gateway_{self.name}"

    @property
    def has_password(self) -> bool:
        return bool(self.password or self.digest)

    @property
    def current_roles(self) -> tuple[str, ...]:
        """What currentRoles() says; users made in SQL share their engine's roles, which mean nothing to anybody."""
        return self.roles if self.engine_role else (self.role, *self.roles)

    def settings(self) -> dict[str, str]:
        """What holds for every query of this user."""
        settings = {name: str(value) for name, value in ({**READ_CAPS, **self.caps} if self.read_only else self.caps).items()}
        if self.read_only:
            settings |= NO_EXPRESSIONS | {"result_overflow_mode": "throw", "allow_introspection_functions": "0"}
        if self.row_filters:
            settings |= FILTER_FIRST
            pairs = (f"{quoted(table)}: {quoted(condition)}" for table, condition in self.row_filters.items())
            settings["additional_table_filters"] = "{" + ", ".join(pairs) + "}"
        return settings


def quoted(text: str) -> str:
    """`text` as an SQL string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Access:
    """The users of one gateway; `made_in_sql` finds those that are not among `users`."""

    def __init__(self, users: Iterable[User], made_in_sql: Callable[[str], User | None] = lambda name: None) -> None:
        self.users = {user.name: user for user in users}
        self.made_in_sql = made_in_sql

    def authenticate(self, name: str, password: str) -> User:
        """The user, or AUTHENTICATION_FAILED, in a time that tells neither names nor prefixes of passwords."""
        user = self.users.get(name) or self.made_in_sql(name)
        # Hashes of one length; a user that does not exist is compared as well.
        expected = user.digest if user and user.digest else digest(user.password if user else "\0")
        given = digest(password, user.salt if user else "")
        if not hmac.compare_digest(expected, given) or user is None:
            what = f"{name}: Authentication failed: password is incorrect, or there is no user with such name"
            raise GatewayError(516, "AUTHENTICATION_FAILED", what)
        return user


def digest(password: str, salt: str = "") -> str:
    return hashlib.sha256((password + salt).encode(errors="surrogateescape")).hexdigest()


def users_xml(users: Iterable[User]) -> str:
    """The engine's users file: chDB's only user, `default`, with nothing but one role per gateway user, and the shared ones."""
    own = {user.role: user.grants or (GRANTS_READ if user.read_only else GRANTS_FULL) for user in users}
    roles, grants = [], []
    for role, lines in {**SHARED_ROLES, **own}.items():
        queries = "".join(f"<query>{escape(line)}</query>" for line in lines)
        roles.append(f"<{role}><grants>{queries}</grants></{role}>")
        grants.append(f"<query>GRANT {role}</query>")
    return (
        "<clickhouse><profiles><default><implicit_select>0</implicit_select><log_queries>0</log_queries></default></profiles>"
        f"<roles>{''.join(roles)}</roles><users><default><password></password><networks><ip>::/0</ip></networks>"
        f"<profile>default</profile><quota>default</quota><grants>{''.join(grants)}</grants></default></users>"
        "<quotas><default/></quotas></clickhouse>"
    )


def check_read_settings(user: User, settings: Mapping[str, str]) -> None:
    """Refuses settings that a read-only user may not choose; caps may only be lowered."""
    caps = {**READ_CAPS, **user.caps}
    for name, value in settings.items():
        if READ_SETTINGS.match(name):
            continue
        cap = caps.get(name)
        if cap is not None and is_number(value) and int(value) > 0 and (cap == 0 or int(value) <= cap):
            continue
        raise GatewayError(164, "READONLY", f"Cannot modify '{name}' setting in readonly mode")


# A line of EXPLAIN AST: `Function file (alias a) (children 1)`. An alias may hold anything, line ends too: so nothing after
# the name is looked at. Whoever writes lines of a tree into an alias can add nodes, but take none away.
NODE = re.compile(r"^ *(?P<node>\w+) +(?P<name>.*?)(?= \((?:alias|children) |$)", re.MULTILINE)
# INTO OUTFILE 'name': a literal directly below the statement.
OUTFILE = re.compile(r"^ Literal ", re.MULTILINE)


def nodes(ast: str, *kinds: str) -> list[str]:
    """Names in the nodes of some kinds in a tree, lower case."""
    return [match["name"].lower() for match in NODE.finditer(ast) if match["node"] in kinds]


def check_row_filters(user: User, statement: bytes) -> None:
    """Refuses PREWHERE, which the engine evaluates before a row filter."""
    if user.row_filters and b"prewhere" in statement.lower():
        raise GatewayError(497, "ACCESS_DENIED", "PREWHERE is not allowed beside row filters: use WHERE")


def check_ast(statement: bytes, ast: str, database: str | None, table_functions: frozenset[str]) -> None:
    """Refuses a statement of a read-only user by its syntax tree, as EXPLAIN AST prints it.

    `table_functions` are all that the engine has, lower case: new ones are forbidden until somebody has looked at them.
    """
    if OUTFILE.search(ast):
        raise GatewayError(497, "ACCESS_DENIED", "INTO OUTFILE is not allowed for this user")
    called = nodes(ast, "Function")
    if "ColumnsApplyTransformer" in ast:
        # The tree does not show what `* APPLY(f)` applies: look at every name in the statement.
        applied = [token for token in tokens(statement) if token.kind in ("word", "quoted")]
        if any(b"\\" in token.text for token in applied):
            raise GatewayError(497, "ACCESS_DENIED", "names with escapes are not allowed beside APPLY")
        called += [unquoted(token).lower() for token in applied]
    for name in called:
        if name in FORBIDDEN_FUNCTIONS or name in table_functions - SAFE_TABLE_FUNCTIONS:
            raise GatewayError(497, "ACCESS_DENIED", f"function {name} is not allowed for this user")
    for name in nodes(ast, "Identifier"):
        # arrayMap(file, [...]) calls a function by its mere name.
        if name in FORBIDDEN_FUNCTIONS:
            what = f"function {name} is not allowed for this user; a column of this name needs its table's name before it"
            raise GatewayError(497, "ACCESS_DENIED", what)
    for name in nodes(ast, "TableIdentifier", "Identifier"):
        schema, _, table = name.rpartition(".")
        is_private = table in PRIVATE_TABLES or table.endswith("_log")
        if is_private and (schema or database or "").lower() == "system":
            raise GatewayError(497, "ACCESS_DENIED", f"table system.{table} is not for this user")
    if ast.startswith("ShowProcesslistQuery"):
        raise GatewayError(497, "ACCESS_DENIED", "the process list is not for this user")
