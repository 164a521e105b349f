"""A receiver for tests: a real HTTP server on a free loopback port that answers as it is told and keeps what it got."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from aiohttp import web

from streams.clock import NS
from streams.config import Secret, Webhook
from streams.webhooks.messages import Message

SECRET = "whsec_" + "bWVzc2FnZXMgYXJlIHNpZ25lZCB3aXRoIHRoaXM="
LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


@dataclass
class Server:
    """`answers` are used up one a request, then it is 204. An answer is a status, or (status, headers, text)."""

    answers: list[Any] = field(default_factory=list)
    on_request: Callable[[], None] = lambda: None
    port: int = 0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    runner: web.AppRunner | None = None
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Server:
        app = web.Application()
        app.router.add_route("*", "/{anywhere:.*}", self.take)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        self.port = self.runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closing.set()
        assert self.runner is not None
        await self.runner.cleanup()

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        self.on_request()
        answer = self.answers.pop(0) if self.answers else 204
        if answer == "hang":
            answer = 204
            await self.closing.wait()
        status, headers, text = answer if isinstance(answer, tuple) else (answer, {}, "")
        return web.Response(status=status, headers=headers, text=text or None)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.got]

    def webhook(self, **settings: Any) -> Webhook:
        return webhook(f"http://127.0.0.1:{self.port}/hook", **settings)


def webhook(url: str, **settings: Any) -> Webhook:
    values = {"name": "ops", "secret": Secret(SECRET), "allow": LOOPBACK, "timeout": "5s", **settings}
    return Webhook.model_validate({"url": url, **values}, context={"base": Path(), "environ": {}})


def message(number: int, lane: str = "rule", name: str = "ops") -> Message:
    return Message(name, f"msg_{number}", lane, json.dumps({"number": number}).encode())


class HandClock:
    """Time moves when the test says so."""

    def __init__(self, now_ns: int = 1_800_000_000 * NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS)
