"""What access statements that change something make of the entities: functions from state to state.

    entities.change(change_of(Reader(canonical), names))

They check everything that a statement names, and raise GatewayError as a server would.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from streams.gateway.access import User, digest
from streams.gateway.access_reader import Reader, unsupported
from streams.gateway.entities import Entities, Grantees, Login, Policy, State
from streams.gateway.errors import GatewayError
from streams.gateway.sql import unquoted

__all__ = ["Names", "change_of"]

# What GRANT and REVOKE may say of rights: reading everything.
READ_ALL = ("SELECT ON *.*", "SHOW, SELECT ON *.*", "SELECT, SHOW ON *.*")
SALT_BYTES = 16


@dataclass(frozen=True)
class Names:
    """Looks up what a statement names."""

    entities: Entities
    user: User
    database: str

    def grantee(self, state: State, name: str) -> str:
        if name == "CURRENT_USER":
            return self.user.name
        if name not in self.entities.fixed and name not in state.users and name not in state.roles:
            raise GatewayError(511, "UNKNOWN_ROLE", f"There is no user or role `{name}` in `user directories`")
        return name

    def grantees(self, state: State, reader: Reader) -> Grantees:
        if reader.take("NONE"):
            return Grantees()
        if reader.take("ALL"):
            excepted = reader.names() if reader.take("EXCEPT") else ()
            return Grantees(is_all=True, excepted=tuple(self.grantee(state, name) for name in excepted))
        return Grantees(tuple(self.grantee(state, name) for name in reader.names()))

    def sql_user(self, state: State, name: str) -> str:
        """The name of a user that was made in SQL."""
        if name in self.entities.fixed:
            what = f"Cannot change user `{name}` because the configuration defines it"
            raise GatewayError(495, "ACCESS_STORAGE_READONLY", what)
        if name not in state.users:
            raise GatewayError(192, "UNKNOWN_USER", f"There is no user `{name}` in `user directories`")
        return name

    def table(self, reader: Reader) -> tuple[str, str]:
        name = reader.name()
        return (name, reader.name()) if reader.take(".") else (self.database, name)

    def policy_name(self, reader: Reader) -> Policy:
        """`name ON [database.]table`, as a policy without condition."""
        name = reader.name()
        if not reader.take("ON"):
            raise unsupported(reader.text)
        return Policy(name, *self.table(reader), "1", Grantees())

    def policy(self, state: State, named: Policy) -> Policy:
        if named.full_name not in state.policies:
            raise GatewayError(523, "UNKNOWN_ROW_POLICY", f"There is no row policy `{named.full_name}` in `user directories`")
        return state.policies[named.full_name]


def change_of(reader: Reader, here: Names) -> Callable[[State], State]:
    for verb in ("CREATE", "ALTER", "DROP"):
        for change, entity in ((policy_change, ("ROW", "POLICY")), (role_change, ("ROLE",)), (user_change, ("USER",))):
            if reader.take(verb, *entity):
                return partial(change, reader, verb, here)
    for verb in ("GRANT", "REVOKE"):
        if reader.take(verb):
            return partial(grant_change, reader, verb, here)
    if reader.take("SET", "DEFAULT", "ROLE"):
        return partial(default_change, reader, here)
    raise unsupported(reader.text)


def policy_change(reader: Reader, verb: str, here: Names, state: State) -> State:
    if_exists = reader.take("IF", "EXISTS")
    if_not_exists, replaces = reader.take("IF", "NOT", "EXISTS"), reader.take("OR", "REPLACE")
    policy = here.policy_name(reader)
    known = dict(state.policies)
    if (if_exists and policy.full_name not in known) or (if_not_exists and policy.full_name in known):
        return state
    if verb == "DROP":
        reader.end()
        del known[here.policy(state, policy).full_name]
        return dataclasses.replace(state, policies=known)
    if verb == "ALTER":
        policy = here.policy(state, policy)
        del known[policy.full_name]
        if reader.take("RENAME", "TO"):
            policy = dataclasses.replace(policy, name=reader.name())
    if policy.full_name in known and not replaces:
        raise already_exists("row policy", policy.full_name)
    if reader.take("AS"):
        policy = dataclasses.replace(policy, is_restrictive=reader.name() == "RESTRICTIVE")
    reader.take("FOR", "SELECT")
    if reader.take("USING"):
        policy = dataclasses.replace(policy, condition=condition(reader))
    if reader.take("TO"):
        policy = dataclasses.replace(policy, grantees=here.grantees(state, reader))
    reader.end()
    return dataclasses.replace(state, policies=known | {policy.full_name: policy})


def condition(reader: Reader) -> str:
    """The text up to the last TO that a list of names follows: a column may be called `to`."""
    start, words = reader.at, list(enumerate(reader.tokens))
    ends = [at for at, word in words[start + 1 :] if word.is_word(b"TO") and not word.depth]
    for end in reversed(ends):
        after = [token.kind in ("word", "quoted") or token.text == b"," for token in reader.tokens[end + 1 :]]
        if after and all(after) and reader.tokens[end + 1].text != b",":
            reader.at = end
            break
    else:
        reader.at = len(reader.tokens)
    if reader.at == start:
        raise unsupported(reader.text)
    return reader.between(reader.tokens[start : reader.at])


def role_change(reader: Reader, verb: str, here: Names, state: State) -> State:
    if_exists = reader.take("IF", "EXISTS")
    if_not_exists = reader.take("IF", "NOT", "EXISTS") or reader.take("OR", "REPLACE")
    named = reader.names()
    reader.end()
    for role in named:
        if verb == "DROP" and role not in state.roles and not if_exists:
            raise GatewayError(511, "UNKNOWN_ROLE", f"There is no role `{role}` in `user directories`")
        taken = role in here.entities.fixed or role in state.users or (role in state.roles and not if_not_exists)
        if verb == "CREATE" and taken:
            raise already_exists("role", role)
    if verb == "CREATE":
        return dataclasses.replace(state, roles=state.roles | set(named))
    if verb == "DROP":
        return forget(dataclasses.replace(state, roles=state.roles - set(named)), state.roles & set(named))
    raise unsupported(reader.text)


def user_change(reader: Reader, verb: str, here: Names, state: State) -> State:
    if_exists, if_not_exists = reader.take("IF", "EXISTS"), reader.take("IF", "NOT", "EXISTS")
    if verb == "DROP":
        named = [name for name in reader.names() if not if_exists or name in state.users or name in here.entities.fixed]
        reader.end()
        gone = {here.sql_user(state, name) for name in named}
        return forget(dataclasses.replace(state, users={n: user for n, user in state.users.items() if n not in gone}), gone)
    name = reader.name()
    if verb == "CREATE" and if_not_exists and (name in here.entities.fixed or name in state.users):
        return state
    if verb == "CREATE" and (name in here.entities.fixed or name in state.users or name in state.roles):
        raise already_exists("user", name)
    if verb == "ALTER" and if_exists and name not in state.users:
        return state
    if verb == "ALTER":
        here.sql_user(state, name)
    if not name.isidentifier() or not name.isascii():
        raise GatewayError(36, "BAD_ARGUMENTS", f"'{name}' cannot be a user's name: letters, digits and _ only")
    users, defaults = dict(state.users), dict(state.defaults)
    if reader.take("IDENTIFIED"):
        if reader.take("WITH") and reader.name() not in ("plaintext_password", "sha256_password"):
            raise unsupported(reader.text)
        if not reader.take("BY") or not (password := reader.string()):
            raise unsupported(reader.text)
        salt = os.urandom(SALT_BYTES).hex()
        users[name] = Login(salt, digest(password, salt))
    elif verb == "CREATE":
        raise GatewayError(36, "BAD_ARGUMENTS", f"User `{name}` needs a password: IDENTIFIED BY '...'")
    reader.take("HOST", "ANY")
    reader.take("SETTINGS", "READONLY", "=", "1")  # they all are
    granted = dict(state.granted)
    if reader.take("DEFAULT", "ROLE"):
        wanted = here.grantees(state, reader)
        roles = frozenset(check_roles(state, wanted.names))
        # On a server, too, CREATE USER ... DEFAULT ROLE grants the roles.
        granted |= {name: granted.get(name, frozenset()) | roles} if verb == "CREATE" else {}
        defaults[name] = roles
        if wanted.is_all:
            defaults.pop(name)
    reader.take("SETTINGS", "READONLY", "=", "1")
    reader.end()
    return dataclasses.replace(state, users=users, granted=granted, defaults=defaults)


def grant_change(reader: Reader, verb: str, here: Names, state: State) -> State:
    """Roles, and the right to read everything; rights on single tables would need roles of the engine while it runs."""
    word = "TO" if verb == "GRANT" else "FROM"
    place = next((at for at, token in enumerate(reader.tokens) if token.is_word(word.encode())), len(reader.tokens))
    what, reader.at = reader.tokens[reader.at : place], place
    if not reader.take(word):
        raise unsupported(reader.text)
    grantees = {here.grantee(state, name) for name in reader.names()}
    reader.end()
    right = reader.between(what)
    if " ON " not in f" {right}":
        roles = frozenset(check_roles(state, [unquoted(token) for token in what if token.text != b","]))
        granted = dict(state.granted)
        for name in grantees:
            if name in state.roles:
                raise GatewayError(48, "NOT_IMPLEMENTED", f"Cannot grant a role to role `{name}`: grant it to users")
            old = granted.get(name, frozenset())
            granted[name] = old | roles if verb == "GRANT" else old - roles
        return dataclasses.replace(state, granted=granted)
    for name in grantees - state.roles:
        here.sql_user(state, name)  # rights of the others come from the configuration
    if right in READ_ALL or (verb == "REVOKE" and right == "ALL ON *.*"):
        return dataclasses.replace(state, readers=state.readers | grantees if verb == "GRANT" else state.readers - grantees)
    if right.startswith("SELECT ON system."):
        return state  # everybody may read it
    hint = "users made in SQL read everything or nothing: GRANT SELECT ON *.*, and row policies"
    raise GatewayError(48, "NOT_IMPLEMENTED", f"Cannot {verb} {right}: {hint}")


def default_change(reader: Reader, here: Names, state: State) -> State:
    wanted = here.grantees(state, reader)
    if wanted.excepted or not reader.take("TO"):
        raise unsupported(reader.text)
    defaults = dict(state.defaults)
    for name in [here.grantee(state, name) for name in reader.names()]:
        for role in check_roles(state, wanted.names):
            if role not in state.granted.get(name, ()):
                raise GatewayError(512, "SET_NON_GRANTED_ROLE", f"Role {role} should be granted to set default")
        defaults[name] = frozenset(wanted.names)
        if wanted.is_all:
            del defaults[name]
    reader.end()
    return dataclasses.replace(state, defaults=defaults)


def check_roles(state: State, named: Iterable[str]) -> Iterable[str]:
    for role in named:
        if role not in state.roles:
            raise GatewayError(511, "UNKNOWN_ROLE", f"There is no role `{role}` in `user directories`")
        yield role


def already_exists(kind: str, name: str) -> GatewayError:
    return GatewayError(493, "ACCESS_ENTITY_ALREADY_EXISTS", f"{kind} `{name}` already exists in `gateway`")


def forget(state: State, gone: Iterable[str]) -> State:
    """Without users or roles that are gone: who comes later under their name starts from nothing."""
    gone = frozenset(gone)
    policies = {}
    for full_name, policy in state.policies.items():
        grantees = policy.grantees
        left = Grantees(
            tuple(name for name in grantees.names if name not in gone),
            grantees.is_all,
            tuple(name for name in grantees.excepted if name not in gone),
        )
        policies[full_name] = dataclasses.replace(policy, grantees=left)
    return dataclasses.replace(
        state,
        policies=policies,
        readers=state.readers - gone,
        granted={name: roles - gone for name, roles in state.granted.items() if name not in gone},
        defaults={name: roles - gone for name, roles in state.defaults.items() if name not in gone},
    )
