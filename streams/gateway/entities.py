"""Row policies, roles and users that were made in SQL: what the engine would keep in its access storage, if it had one.

chDB knows only the users of its configuration, and those only from its start. So the gateway keeps what SQL adds, in one
file beside the data, and applies it itself: row policies as the setting `additional_table_filters` (as the filters of the
users file), a right to read as one of two roles that the engine has from its start. access_sql.py turns statements into
`change`; `effective` says what a user is for one request.

Users made in SQL only read, and everything or nothing. Row policies hold for read-only users; who may write may change the
policies as well. Every change is on disk before it holds.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from streams.errors import ConfigError
from streams.gateway.access import NOBODY_ROLE, READER_ROLE, User
from streams.gateway.errors import GatewayError
from streams.gateway.rewrites import with_own_name

__all__ = ["Entities", "Grantees", "Login", "Policy", "State"]


@dataclass(frozen=True, slots=True)
class Grantees:
    """Whom something is for: users and roles by name, or all of them, but for some."""

    names: tuple[str, ...] = ()
    is_all: bool = False
    excepted: tuple[str, ...] = ()

    def include(self, names: frozenset[str]) -> bool:
        """`names` are a user and its roles."""
        return names.isdisjoint(self.excepted) and (self.is_all or not names.isdisjoint(self.names))


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    database: str
    table: str
    condition: str
    grantees: Grantees
    is_restrictive: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.name} ON {self.database}.{self.table}"


@dataclass(frozen=True, slots=True)
class Login:
    """A user's password, as SHA-256 of it and the salt behind it."""

    salt: str = field(repr=False)
    digest: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class State:
    """All entities. Never changed: a change makes another one."""

    policies: Mapping[str, Policy] = field(default_factory=dict)  # by full name
    users: Mapping[str, Login] = field(default_factory=dict)
    roles: frozenset[str] = frozenset()
    readers: frozenset[str] = frozenset()  # users and roles with SELECT ON *.*
    granted: Mapping[str, frozenset[str]] = field(default_factory=dict)  # roles by user, of the users file as well
    defaults: Mapping[str, frozenset[str]] = field(default_factory=dict)  # by user; absent: all that are granted


STATE: TypeAdapter[State] = TypeAdapter(State)


class Entities:
    """The entities of one gateway, kept in `file`, beside the users of its configuration."""

    def __init__(self, file: Path, fixed: Iterable[User]) -> None:
        self.file = file
        self.fixed = {user.name: user for user in fixed}
        self.state = State()
        self.lock = threading.Lock()

    def load(self) -> None:
        """Reads the file; ConfigError if it is there but cannot be understood: to open without policies would be worse."""
        try:
            self.state = STATE.validate_json(self.file.read_bytes())
        except FileNotFoundError:
            pass
        except ValidationError as error:
            what = f"cannot read the users, roles and row policies made in SQL: {error.errors()[0]['msg']}"
            raise ConfigError(what, file=self.file, hint="restore it, or remove it and make them again") from None

    def change(self, make: Callable[[State], State]) -> None:
        """Puts `make(state)` on disk and in force; nothing happens if it raises."""
        with self.lock:
            state = make(self.state)
            if state == self.state:
                return
            draft = self.file.with_suffix(".draft")
            with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(STATE.dump_json(state, indent=1))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.file)
            self.state = state

    def user(self, name: str) -> User | None:
        """A user of the configuration, or one made in SQL (with no right but to log in), or None."""
        if (fixed := self.fixed.get(name)) is not None:
            return fixed
        login = self.state.users.get(name)
        if login is None:
            return None
        return User(name, read_only=True, digest=login.digest, salt=login.salt, engine_role=NOBODY_ROLE)

    def roles(self, user: User, asked: Collection[str] = ()) -> frozenset[str]:
        """The roles that hold: those that are `asked` for, or the user's default. SET_NON_GRANTED_ROLE if it lacks one."""
        granted = self.state.granted.get(user.name, frozenset())
        for role in asked:
            if role not in granted and role != user.role:
                raise GatewayError(512, "SET_NON_GRANTED_ROLE", f"Role {role} should be granted to set as current")
        if asked:
            return granted & set(asked)
        return granted & self.state.defaults.get(user.name, granted)

    def effective(self, user: User, asked: Collection[str] = ()) -> User:
        """The user as it is for one request: with its roles, its right to read, and the row policies for it."""
        roles = self.roles(user, asked)
        user = dataclasses.replace(user, roles=tuple(sorted(roles)))
        names = roles | {user.name}
        if user.engine_role and not names.isdisjoint(self.state.readers):
            user = dataclasses.replace(user, engine_role=READER_ROLE)
        if not user.read_only:
            return user
        filters = dict(user.row_filters)
        for table, policies in row_filters(self.state.policies.values(), names).items():
            condition = with_own_name(policies.encode(), user, has_aliases=False).decode()
            filters[table] = f"({filters[table]}) AND ({condition})" if table in filters else condition
        return dataclasses.replace(user, row_filters=filters)


def row_filters(policies: Iterable[Policy], names: frozenset[str]) -> dict[str, str]:
    """One condition for each table: a row needs one of the permissive policies, and all restrictive ones.

    As on a server with users_without_row_policies_can_read_rows, its default: policies for others change nothing.
    """
    matching = [policy for policy in policies if policy.grantees.include(names)]
    filters = {}
    for table in {f"{policy.database}.{policy.table}" for policy in matching}:
        here = [policy for policy in matching if f"{policy.database}.{policy.table}" == table]
        permissive = [f"({policy.condition})" for policy in here if not policy.is_restrictive]
        restrictive = [f"({policy.condition})" for policy in here if policy.is_restrictive]
        filters[table] = " AND ".join([f"({' OR '.join(permissive)})"] * bool(permissive) + sorted(restrictive))
    return filters
