"""Sessions of the HTTP interface: settings and temporary tables that outlive a request.

A session belongs to one user, runs one request at a time and ends when it has been idle for its timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from streams.gateway.access import User
from streams.gateway.engine import Connection
from streams.gateway.errors import GatewayError
from streams.gateway.request import Request

__all__ = ["Sessions"]

SESSIONS_MAX = 256


@dataclass(slots=True)
class Session:
    connection: Connection
    is_busy: bool = False
    expiry: asyncio.TimerHandle | None = None


class Sessions:
    """Connections by user and session id; `connect` opens one (True: to be kept), `disconnect` closes it."""

    def __init__(
        self, connect: Callable[[User, bool], Awaitable[Connection]], disconnect: Callable[[Connection], Awaitable[None]]
    ) -> None:
        self.connect, self.disconnect = connect, disconnect
        self.sessions: dict[tuple[str, str], Session] = {}
        self.opening: set[tuple[str, str]] = set()
        self.closing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def lease(self, user: User, request: Request) -> AsyncIterator[Connection]:
        """The connection for one request: a fresh one, or the session's."""
        # Read-only users can change nothing that a session would remember, and `readonly = 1` cannot be taken back.
        if request.session_id is None or user.read_only:
            connection = await self.connect(user, False)
            try:
                yield connection
            finally:
                await self.disconnect(connection)
            return
        key = (user.name, request.session_id)
        session = await self.acquire(key, user, request)
        try:
            yield session.connection
        finally:
            session.is_busy = False
            if request.closes_session:
                self.expire(key)
            else:
                session.expiry = asyncio.get_running_loop().call_later(request.session_timeout_s, self.expire, key)

    async def acquire(self, key: tuple[str, str], user: User, request: Request) -> Session:
        session = self.sessions.get(key)
        if key in self.opening or (session is not None and session.is_busy):
            raise GatewayError(373, "SESSION_IS_LOCKED", f"Session {key[1]} is locked by a concurrent client")
        if session is None:
            if request.session_must_exist:
                raise GatewayError(372, "SESSION_NOT_FOUND", f"Session {key[1]} not found")
            if len(self.sessions) + len(self.opening) >= SESSIONS_MAX:
                raise GatewayError(202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"Too many sessions. Maximum: {SESSIONS_MAX}")
            self.opening.add(key)
            try:
                session = self.sessions[key] = Session(await self.connect(user, True))
            finally:
                self.opening.discard(key)
        session.is_busy = True
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        return session

    def expire(self, key: tuple[str, str]) -> None:
        session = self.sessions.pop(key, None)
        if session is not None:
            task = asyncio.ensure_future(self.disconnect(session.connection))
            self.closing.add(task)
            task.add_done_callback(self.closing.discard)

    async def close(self) -> None:
        for key, session in list(self.sessions.items()):
            if session.expiry is not None:
                session.expiry.cancel()
            self.expire(key)
        await asyncio.gather(*self.closing)
