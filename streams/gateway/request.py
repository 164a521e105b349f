"""One HTTP request, taken apart: who asks, what, in which session, with which parameters, settings and formats.

Nothing is executed here. Bodies are read in pieces on demand (`Body`), so that an INSERT of any size needs little memory.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from aiohttp import web

from streams.gateway.compression import Decoder, choose_encoding, decoder_for
from streams.gateway.errors import GatewayError
from streams.gateway.sql import is_number, names

__all__ = ["PIECE_BYTES", "Body", "Request", "credentials", "is_from_a_foreign_page"]

# Parameters of the HTTP interface itself; every other one is a setting of the query.
TRANSPORT = names(
    "query database default_format user password session_id session_timeout session_check close_session query_id quota_key"
    " compress decompress buffer_size wait_end_of_query client_protocol_version role enable_http_compression"
    " network_compression_method cancel_http_readonly_queries_on_client_close stacktrace add_http_cors_header"
)
PIECE_BYTES = 1 << 20  # ClickHouse's DBMS_DEFAULT_BUFFER_SIZE
BUFFER_BYTES_MAX = 64 << 20  # of an answer held back on request (buffer_size, wait_end_of_query is without limit)
QUERY_ID_MAX = 1000  # it goes into a header
SESSION_TIMEOUT_S, SESSION_TIMEOUT_MAX_S = 60, 3600  # default_session_timeout, max_session_timeout


@dataclass(frozen=True, slots=True)
class Request:
    query: bytes
    query_id: str
    database: str | None
    session_id: str | None
    session_timeout_s: int
    session_must_exist: bool
    closes_session: bool
    default_format: str | None
    encoding: str | None  # of the answer
    buffer_bytes: int | None  # None: send when it seems right
    wait_end_of_query: bool
    native_compression: str | None  # compress=1: method of ClickHouse's own compressed blocks
    decompress: bool  # the body is such blocks
    protocol_version: int  # that the client speaks: says how it wants Native; 0 if it does not care
    reads_only: bool  # GET and HEAD may not change anything
    params: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def parse(http: web.Request, fields: Mapping[str, str], tables: Collection[str]) -> Request:
        """From URL, headers and the `fields` of a form; parameters that describe external `tables` are not settings."""
        described = {f"{table}_{what}" for table in tables for what in ("format", "structure", "types")}
        given = {name: value for name, value in {**http.query, **fields}.items() if name not in described}
        compressed = flag(given, "enable_http_compression")
        query_id = given.get("query_id") or http.headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4())
        if not query_id.isprintable() or len(query_id) > QUERY_ID_MAX:
            what = f"query_id has unprintable characters, or more than {QUERY_ID_MAX}"
            raise GatewayError(36, "BAD_ARGUMENTS", what)
        others = {name: value for name, value in given.items() if name not in TRANSPORT}
        for name in others:
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise GatewayError(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
        return Request(
            query=given.get("query", "").encode(errors="surrogateescape"),
            query_id=query_id,
            database=given.get("database") or http.headers.get("X-ClickHouse-Database"),
            session_id=given.get("session_id") or None,
            session_timeout_s=session_timeout_s(given.get("session_timeout")),
            session_must_exist=flag(given, "session_check"),
            closes_session=flag(given, "close_session"),
            default_format=given.get("default_format") or http.headers.get("X-ClickHouse-Format"),
            encoding=choose_encoding(http.headers.get("Accept-Encoding", "")) if compressed else None,
            buffer_bytes=min(number(given["buffer_size"]), BUFFER_BYTES_MAX) if given.get("buffer_size") else None,
            wait_end_of_query=flag(given, "wait_end_of_query"),
            native_compression=given.get("network_compression_method", "LZ4") if flag(given, "compress") else None,
            decompress=flag(given, "decompress"),
            protocol_version=number(given.get("client_protocol_version") or "0"),
            reads_only=http.method in ("GET", "HEAD"),
            params={name[6:]: value for name, value in others.items() if name.startswith("param_")},
            settings={name: value for name, value in others.items() if not name.startswith("param_")},
        )


def flag(given: Mapping[str, str], name: str) -> bool:
    return given.get(name, "0").lower() not in ("", "0", "false")


def number(text: str) -> int:
    if not is_number(text):
        raise GatewayError(72, "CANNOT_PARSE_NUMBER", f"Cannot parse '{text}' as a number")
    return int(text)


def session_timeout_s(text: str | None) -> int:
    if text is None:
        return SESSION_TIMEOUT_S
    if not is_number(text):
        raise GatewayError(374, "INVALID_SESSION_TIMEOUT", f"Invalid session timeout: '{text}'", status=400)
    if int(text) > SESSION_TIMEOUT_MAX_S:
        what = f"Session timeout '{text}' is larger than max_session_timeout: {SESSION_TIMEOUT_MAX_S}"
        raise GatewayError(374, "INVALID_SESSION_TIMEOUT", what, status=400)
    return int(text)


def credentials(http: web.Request) -> tuple[str, str]:
    """User and password: from ClickHouse's headers, HTTP Basic, or the URL."""
    headers, query = http.headers, http.query
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise GatewayError(516, "AUTHENTICATION_FAILED", "Invalid HTTP Basic authentication") from error
        return name or "default", password
    if scheme:
        raise GatewayError(516, "AUTHENTICATION_FAILED", f"'{scheme}' HTTP Authorization scheme is not supported")
    return query.get("user", "default") or "default", query.get("password", "")


def is_from_a_foreign_page(http: web.Request) -> bool:
    """Whether a web page may be behind a request: then a user without password would serve whoever wrote the page.

    Browsers send Origin with a POST to elsewhere; a name that was made to point to loopback shows in Host.
    """
    if "Origin" in http.headers and http.headers["Origin"].partition("//")[2] != http.host:
        return True
    name = http.host.rpartition(":")[0] if re.search(r":\d+\Z", http.host) else http.host
    try:
        return not ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name != "localhost"


class Body:
    """The body of a request, decoded, in pieces: its start in the event loop, the rest from the thread that needs it."""

    def __init__(self, http: web.Request, *, decompresses: bool) -> None:
        self.stream = http.content
        self.decoder: Decoder = decoder_for(http.headers.get("Content-Encoding", ""), decompresses)
        self.decoded: Iterator[bytes] = iter(())

    async def receive(self) -> list[bytes]:
        """Raw pieces, up to about PIECE_BYTES of them; none at the end; ConnectionError if the client went away before it."""
        pieces, size_bytes = [], 0
        while size_bytes < PIECE_BYTES and (piece := await self.stream.readany()):
            pieces.append(piece)
            size_bytes += len(piece)
        return pieces

    async def read_up_to(self, limit_bytes: int) -> bytes:
        """The next `limit_bytes` and a little more, or less at the end."""
        pieces, size_bytes = [], 0
        while size_bytes < limit_bytes:
            piece = next(self.decoded, None)
            if piece is not None:
                pieces.append(piece)
                size_bytes += len(piece)
            elif not self.take(await self.receive()):
                break
        return b"".join(pieces)

    def rest(self, receive: Callable[[], list[bytes]]) -> Iterator[bytes]:
        """What has not been read yet, in pieces as they come; `receive` waits for the coroutine of that name."""
        while True:
            yield from self.decoded
            if not self.take(receive()):
                return

    def take(self, received: list[bytes]) -> bool:
        """Starts decoding; False at the end. GatewayError if a compressed body was cut off."""
        if not received:
            self.decoder.finish()
            return False
        self.decoded = chain.from_iterable(map(self.decoder.decompress, received))
        return True
