"""Connections to ClickHouse, and whose fault a refusal is.

    client = connect(config.database.dsn)
    try:
        client.command("SELECT 1")
    except ClickHouseError as error:
        refusal = classify(error)               # refusal.fault is Fault.DEPENDENCY, TABLE or ROW

A client may be used by one thread at a time. This module does not retry: who calls knows how long it can wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect import common
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.exceptions import Error as CodedError

from streams.errors import DependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clickhouse_connect.driver.client import Client

__all__ = [
    "ClickHouseError", "Fault", "Refusal", "Watch", "classify", "connect", "connect_to_server", "database_of", "quoted",
]

CONNECT_TIMEOUT_S = 5
# An insert of 8 MB takes a second; ten minutes of merges behind TOO_MANY_PARTS do not count, they are refused at once.
ANSWER_TIMEOUT_S = 120

# A read-only user's server calls every setting read-only, also those that it takes from him (formats of times and numbers).
# Who may set what is the server's to say.
common.set_setting("invalid_setting_action", "send")


class Fault(Enum):
    """What has to change before the same request can succeed."""

    DEPENDENCY = "dependency"       # nothing of ours: wait and send it again
    TABLE = "table"                 # schema, rights or settings: wait too, but an operator must act
    ROW = "row"                     # something in the data: halve it until the row is found


@dataclass(frozen=True)
class Refusal:
    """An answer that was no. `code` is ClickHouse's, 0 where there was no answer."""

    code: int
    fault: Fault
    text: str

    @property
    def retryable(self) -> bool:
        return self.fault is not Fault.ROW


# ClickHouse's error codes: src/Common/ErrorCodes.cpp, also in system.errors (numbers from memory, checked against
# system.errors in tests/test_clickhouse_client.py). Everything that is in neither set is the dependency's fault: waiting
# loses nothing, and the counter shows it.
ROW_FAULTS = {
    6: "CANNOT_PARSE_TEXT", 26: "CANNOT_PARSE_QUOTED_STRING", 27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    33: "CANNOT_READ_ALL_DATA", 38: "CANNOT_PARSE_DATE", 41: "CANNOT_PARSE_DATETIME", 50: "UNKNOWN_TYPE", 53: "TYPE_MISMATCH",
    69: "ARGUMENT_OUT_OF_BOUND", 70: "CANNOT_CONVERT_TYPE", 72: "CANNOT_PARSE_NUMBER", 117: "INCORRECT_DATA",
    128: "TOO_LARGE_ARRAY_SIZE", 131: "TOO_LARGE_STRING_SIZE", 321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", 407: "DECIMAL_OVERFLOW", 441: "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING",
    469: "VIOLATED_CONSTRAINT", 675: "CANNOT_PARSE_IPV4", 676: "CANNOT_PARSE_IPV6",
}
TABLE_FAULTS = {
    8: "THERE_IS_NO_COLUMN", 10: "NOT_FOUND_COLUMN_IN_BLOCK", 16: "NO_SUCH_COLUMN_IN_TABLE", 36: "BAD_ARGUMENTS",
    44: "ILLEGAL_COLUMN", 47: "UNKNOWN_IDENTIFIER", 48: "NOT_IMPLEMENTED", 60: "UNKNOWN_TABLE", 62: "SYNTAX_ERROR",
    73: "UNKNOWN_FORMAT", 81: "UNKNOWN_DATABASE", 115: "UNKNOWN_SETTING", 164: "READONLY", 192: "UNKNOWN_USER",
    193: "WRONG_PASSWORD", 194: "REQUIRED_PASSWORD", 452: "SETTING_CONSTRAINT_VIOLATION", 497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
}


def classify(error: BaseException) -> Refusal:
    """What an exception of clickhouse_connect, or of the network below it, means for the request."""
    text = network_fault(error) or " ".join(str(error).split())[:1000] or type(error).__name__
    code = (error.code if isinstance(error, CodedError) else None) or 0
    if code in ROW_FAULTS:
        return Refusal(code, Fault.ROW, text)
    return Refusal(code, Fault.TABLE if code in TABLE_FAULTS else Fault.DEPENDENCY, text)


def network_fault(error: BaseException) -> str | None:
    """`Connection refused` and the like, from below the driver's and urllib3's wrappings."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return None


def connect(
    dsn: str, *, user: str | None = None, password: str | None = None, settings: Mapping[str, Any] | None = None
) -> Client:
    """A client of the database that `dsn` names: `http[s]://[USER:PASSWORD@]HOST:PORT/DATABASE[?SETTING=VALUE]`.

    DependencyError when nothing answers there, or when it refuses us (then not retryable).
    """
    return open_client(dsn, database_of(dsn), user, password, settings)


def connect_to_server(dsn: str, *, user: str | None = None, password: str | None = None) -> Client:
    """The same without a database, for whoever creates it."""
    return open_client(dsn, "default", user, password, None)


def open_client(
    dsn: str, database: str, user: str | None, password: str | None, settings: Mapping[str, Any] | None
) -> Client:
    parts = urlsplit(dsn)
    secure = parts.scheme == "https"
    try:
        return clickhouse_connect.get_client(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or (8443 if secure else 8123),
            username=user or unquote(parts.username or "default"),
            password=password if password is not None else unquote(parts.password or ""),
            database=database,
            interface=parts.scheme,
            secure=secure,
            settings=dict(parse_qsl(parts.query)) | dict(settings or {}),
            # A session allows one query at a time; nothing of ours needs one.
            autogenerate_session_id=False,
            compress=False,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=ANSWER_TIMEOUT_S,
            # Retries are ours: they are counted, and they wait.
            query_retries=0,
            client_name="orbitrack",
        )
    except ClickHouseError as error:
        refusal = classify(error)
        raise DependencyError(
            f"ClickHouse at {parts.hostname}:{parts.port or 8123}: {refusal.text}",
            retryable=refusal.fault is Fault.DEPENDENCY or refusal.code == 81,
            hint="is `orbitrack up` running, and is [database] dsn right?" if refusal.code == 0 else None,
        ) from error


class Watch:
    """Asks the database for nothing, to see whether it answers."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self.connect = connect
        self.client: Client | None = None

    def look(self) -> None:
        """DependencyError when there is no answer. Blocks."""
        try:
            if self.client is None:
                self.client = self.connect()
            self.client.command("SELECT 1")
        except (ClickHouseError, OSError) as error:
            raise DependencyError(f"no answer: {classify(error).text}") from error

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None


def database_of(dsn: str) -> str:
    """The database that a DSN names."""
    return unquote(urlsplit(dsn).path.lstrip("/").split("/")[0]) or "orbitrack"


def quoted(name: str) -> str:
    """An identifier for SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
