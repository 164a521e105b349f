"""The port of ClickHouse's native protocol, for those who expect one: says that the gateway speaks HTTP, and where.

    server = await listen_native("127.0.0.1", 9000, http_port=8123)
    server.close()

A client of HTTP that took the wrong port reads what a server would say there; clickhouse-client and its kin get the
protocol's own exception (Protocol::Server::Exception, Hello answered; from memory). Nothing is ever executed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from functools import partial

__all__ = ["listen_native"]

HELLO_BYTES_MAX = 1024
HELLO_S = 5.0
EXCEPTION, NOT_IMPLEMENTED = 2, 48


async def listen_native(host: str, port: int, *, http_port: int) -> asyncio.Server:
    """Listens until it is closed; OSError if the port is taken."""
    return await asyncio.start_server(partial(answer, http_port), host, port, limit=HELLO_BYTES_MAX)


async def answer(http_port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, TimeoutError):
        hello = await asyncio.wait_for(reader.read(HELLO_BYTES_MAX), HELLO_S)
        port = writer.get_extra_info("sockname")[1]
        if hello[:1].isalpha():
            text = f"Port {port} is for clickhouse-client program\r\nYou must use port {http_port} for HTTP.\r\n"
            writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n" + text.encode())
        elif hello:
            text = f"This is an embedded database. It speaks HTTP only, on port {http_port}"
            name, message = b"DB::Exception", f"DB::Exception: {text}".encode()
            strings = b"".join(bytes([len(value)]) + value for value in (name, message, b""))
            writer.write(bytes([EXCEPTION]) + struct.pack("<i", NOT_IMPLEMENTED) + strings + b"\0")
        await asyncio.wait_for(writer.drain(), HELLO_S)
    writer.close()
