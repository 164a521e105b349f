"""Questions to ClickHouse and their answers, as text of a format or as rows.

    names, rows = ask_rows(client, "SELECT ...", {"from": "2026-10-01 00:00:00"})
    for chunk in ask_stream(client, sql, parameters, "ArrowStream"): ...
    stream = open_stream(client, "INSERT INTO t FORMAT CSV", data=chunks)     # any statement

Times come as RFC 3339 UTC, 64-bit integers as JSON numbers, no value as null. UsageError when the question is wrong,
InputError when the database gave up on it, DependencyError when it is away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import HTTPError

from streams.clickhouse.client import ClickHouseError, classify
from streams.errors import DependencyError, InputError, OrbitrackError, UsageError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["Stream", "ask_rows", "ask_stream", "open_stream"]

CHUNK_BYTES = 1 << 16
SETTINGS = {
    "date_time_output_format": "iso",
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_decimals": 0,
    "output_format_json_quote_denormals": 0,
    "output_format_json_validate_utf8": 1,          # MAC addresses are bytes
    "format_csv_null_representation": "",
}
# TOO_MANY_SIMULTANEOUS_QUERIES, SOCKET_TIMEOUT, NETWORK_ERROR, ALL_CONNECTION_TRIES_FAILED.
AWAY = (202, 209, 210, 279)
# Codes that say that the question was understood but too much: TOO_SLOW, TOO_MANY_ROWS, TIMEOUT_EXCEEDED,
# MEMORY_LIMIT_EXCEEDED, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES, QUERY_WAS_CANCELLED. From system.errors.
GIVEN_UP = (158, 159, 160, 241, 307, 394, 396)


@dataclass(frozen=True)
class Stream:
    """An answer under way. Whoever has one reads `pieces` to the end or closes it."""

    format: str                     # the statement's own FORMAT clause wins over what was asked for; "" if it returns nothing
    written_rows: int               # as far as the header told
    pieces: Iterator[bytes]         # as they come, nothing of them kept


def open_stream(
    client: Client, sql: str, parameters: Mapping[str, object] | None = None, fmt: str = "JSONEachRow",
    limit: int | None = None, *, is_whole: bool = False, settings: Mapping[str, object] | None = None,
    data: Iterable[bytes] | None = None,
) -> Stream:
    """Sends any statement, an INSERT with the `data` that shall follow it, and waits for the head of its answer.

    `limit` caps the rows. An error in the middle is raised after the pieces before it; with `is_whole` the server keeps the
    answer until it is complete, and an error leaves nothing.
    """
    # A format by default, not as a clause: behind an INSERT it would be data.
    every: dict[str, Any] = SETTINGS | {"default_format": fmt} | dict(settings or {})
    every |= ({"limit": limit} if limit else {}) | ({"wait_end_of_query": 1} if is_whole else {})
    try:
        if data is not None:
            every |= {f"param_{name}": value for name, value in (parameters or {}).items()}
            done = client.raw_insert("", insert_block=(piece for piece in chain([sql.encode() + b"\n"], data)), settings=every)
            return Stream("", done.written_rows, iter(()))
        # The driver says IO; it is urllib3's response, whose read1 returns what is there, also before an error.
        response: Any = client.raw_stream(sql, parameters=dict(parameters or {}) or None, settings=every)
    except (ClickHouseError, HTTPError, OSError) as error:
        raise failure(error) from error
    summary = json.loads(response.headers.get("X-ClickHouse-Summary", "{}"))
    return Stream(response.headers.get("X-ClickHouse-Format", ""), int(summary.get("written_rows", 0)), pieces(response))


def pieces(response: Any) -> Iterator[bytes]:
    before = held = b""
    try:
        # One piece is held back: if the connection breaks, it holds the reason.
        while chunk := response.read1(CHUNK_BYTES):
            if held:
                yield held
            before, held = held, chunk
    except HTTPError as error:
        raise broken_off(before + held, error) from error
    except OSError as error:
        raise failure(error) from error
    finally:
        response.close()
    if held:
        yield held


def ask_stream(
    client: Client, sql: str, parameters: Mapping[str, object] | None = None, fmt: str = "JSONEachRow",
    limit: int | None = None, *, is_whole: bool = False,
) -> Iterator[bytes]:
    """The answer in a ClickHouse format, in pieces; see `open_stream`."""
    yield from open_stream(client, sql, parameters, fmt, limit, is_whole=is_whole).pieces


def ask_rows(
    client: Client, sql: str, parameters: Mapping[str, object] | None = None, limit: int | None = None
) -> tuple[list[str], list[list[Any]]]:
    """Column names and rows of plain Python values."""
    lines = b"".join(ask_stream(client, sql, parameters, "JSONCompactEachRowWithNames", limit, is_whole=True)).splitlines()
    names, *rows = [json.loads(line) for line in lines] or [[]]
    return names, rows


def broken_off(tail: bytes, error: HTTPError) -> OrbitrackError:
    """A server sends the reason (since 25.11 under `__exception__`) and cuts the line, so that no part is taken for all."""
    reason = re.findall(rb"Code: \d+\. DB::Exception: [^\r\n]*", tail)
    if reason:
        return InputError(f"the database broke off: {reason[-1].decode(errors='replace')}")
    return DependencyError(f"the database broke off: {error}")


def failure(error: Exception) -> OrbitrackError:
    """Our exception for one of the driver's."""
    refusal = classify(error)
    # The driver says it twice, and where.
    text = re.sub(r"^.*server response: (?=Code: )", "", refusal.text).partition(" (for url")[0]
    if refusal.code in GIVEN_UP:
        return InputError(f"the database gave up: {text}")
    if refusal.code == 0 or refusal.code in AWAY:
        hint = "is `orbitrack up` running, and is [database] dsn right?"
        return DependencyError(f"the database does not answer: {text}", hint=hint)
    return UsageError(f"the database refused: {text}")
