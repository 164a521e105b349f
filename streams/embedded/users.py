"""Further users of the embedded database, from a file.

    [[user]]
    name = "customer"
    password_env = "CUSTOMER_PASSWORD"                  # the variable that holds it; never the password itself
    grants = ["GRANT SELECT ON orbitrack.*"]            # default: read everything
    row_filters = { "orbitrack.windows_1h" = "entity LIKE 'customer-7/%'" }
    caps = { max_execution_time = 10 }                  # ClickHouse settings; see docs/gateway.md for the defaults
    read_only = true                                    # the default

The file is read once, when the database starts: chDB has no users of its own to change while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streams.errors import ConfigError, nearest
from streams.gateway import User
from streams.settings import RawSettings, read_settings

__all__ = ["read_users"]

KINDS: dict[str, tuple[type, str]] = {
    "name": (str, "a text"),
    "password_env": (str, "the name of an environment variable"),
    "read_only": (bool, "true or false"),
    "grants": (list, "a list of GRANT statements"),
    "row_filters": (dict, "a table of conditions by table"),
    "caps": (dict, "a table of settings and numbers"),
}


def read_users(file: Path, environ: Mapping[str, str]) -> list[User]:
    """The users of a file; ConfigError with its line for the first thing that is wrong."""
    raw = read_settings(file, {})
    entries = raw.values.pop("user", [])
    if raw.values or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        other = next(iter(raw.values), "user")
        raise problem(raw, (other,), f"unknown section '{other}'", "write [[user]]")
    users = [read_user(raw, number, entry, environ) for number, entry in enumerate(entries)]
    for number, user in enumerate(users):
        if user.name in {"default", "writer", "analyst"} | {other.name for other in users[:number]}:
            raise problem(raw, ("user", number, "name"), f"there is a user '{user.name}' already", "choose another name")
    return users


def read_user(raw: RawSettings, number: int, entry: dict[str, Any], environ: Mapping[str, str]) -> User:
    for key, value in entry.items():
        if key not in KINDS:
            match = nearest(key, KINDS)
            hint = f"did you mean '{match}'?" if match else f"known here: {', '.join(KINDS)}"
            raise problem(raw, ("user", number, key), f"unknown key '{key}'", hint)
        kind, what = KINDS[key]
        if not isinstance(value, kind):
            raise problem(raw, ("user", number, key), f"'{key}' cannot be {value!r}", f"write {what}")
    for key in ("name", "password_env"):
        if not entry.get(key):
            raise problem(raw, ("user", number), f"'{key}' is missing", None)
    password = environ.get(entry["password_env"], "")
    if not password:
        what = f"${entry['password_env']} is not set, and user '{entry['name']}' has no other password"
        raise problem(raw, ("user", number, "password_env"), what, "set it before the database starts")
    for name, value in entry.get("caps", {}).items():
        if not isinstance(value, int) or value < 0:
            raise problem(raw, ("user", number, "caps"), f"cap '{name}' cannot be {value!r}", "write a whole number")
    try:
        return User(
            entry["name"],
            password,
            read_only=entry.get("read_only", True),
            caps=entry.get("caps", {}),
            row_filters=entry.get("row_filters", {}),
            grants=tuple(entry.get("grants", ())),
        )
    except ConfigError as error:
        raise problem(raw, ("user", number, "name"), error.what, error.hint) from None


def problem(raw: RawSettings, path: tuple[str | int, ...], what: str, hint: str | None) -> ConfigError:
    file, line = raw.place(path)
    return ConfigError(what, file=file, line=line, hint=hint)
