"""Sessions of the HTTP interface: settings and temporary tables that outlive a request.

A session belongs to one user, runs one request at a time (a second one waits a moment, then is told so) and ends when it
has been idle for its timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from streams.gateway.access import User
from streams.gateway.engine import Connection
from streams.gateway.errors import GatewayError
from streams.gateway.request import Request

__all__ = ["Sessions"]

SESSIONS_MAX = 256
# A client may have the whole answer, and ask again, a moment before the session is free; or it gave up an answer, and the
# query behind it is being stopped (server.KILL_RETRY_S). A server does not wait at all.
WAIT_S = 0.3


class Session:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()  # held by the request that runs
        self.connection: Connection | None = None
        self.expiry: asyncio.TimerHandle | None = None


class Sessions:
    """Connections by user and session id; `connect` opens one (True: to be kept), `disconnect` closes it."""

    def __init__(
        self,
        connect: Callable[[User, bool], Awaitable[Connection]],
        disconnect: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self.connect, self.disconnect = connect, disconnect
        self.sessions: dict[tuple[str, str], Session] = {}
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
        session = await self.acquire(key, must_exist=request.session_must_exist)
        try:
            if session.connection is None:
                session.connection = await self.connect(user, True)
            yield session.connection
        finally:
            session.lock.release()
            if request.closes_session or session.connection is None:
                self.expire(key)
            else:
                session.expiry = asyncio.get_running_loop().call_later(request.session_timeout_s, self.expire, key)

    async def acquire(self, key: tuple[str, str], *, must_exist: bool) -> Session:
        """The session, locked; made if there is none."""
        while True:
            session = self.sessions.get(key)
            if session is None:
                if must_exist:
                    raise GatewayError(372, "SESSION_NOT_FOUND", f"Session {key[1]} not found")
                if len(self.sessions) >= SESSIONS_MAX:
                    raise GatewayError(202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"Too many sessions: {SESSIONS_MAX}")
                session = self.sessions[key] = Session()
            try:
                await asyncio.wait_for(session.lock.acquire(), WAIT_S)
            except TimeoutError:
                what = f"Session {key[1]} is locked by a concurrent client"
                raise GatewayError(373, "SESSION_IS_LOCKED", what) from None
            if self.sessions.get(key) is session:
                break
            session.lock.release()  # closed while we waited
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        return session

    def expire(self, key: tuple[str, str]) -> None:
        session = self.sessions.get(key)
        if session is None or session.lock.locked():
            return
        del self.sessions[key]
        if session.connection is not None:
            task = asyncio.ensure_future(self.disconnect(session.connection))
            self.closing.add(task)
            task.add_done_callback(self.closing.discard)

    async def close(self) -> None:
        for key, session in list(self.sessions.items()):
            if session.expiry is not None:
                session.expiry.cancel()
            self.expire(key)
        await asyncio.gather(*self.closing)
