"""The other end: a small server that verifies signatures and shows what it was told. For the demo and for trying out.

    server = await receive_webhooks("127.0.0.1", 9911, secret, print)
    ...
    await server.stop()

A receiver of one's own does the same: verify before reading, answer 2xx quickly, and ignore a webhook-id seen before.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from streams.addresses import Address, bind_error

__all__ = ["Receiver", "receive_webhooks"]

BODY_BYTES_MAX = 4 << 20
IDS_MAX = 10_000


async def receive_webhooks(host: str, port: int, secret: str, show: Callable[[str], None]) -> Receiver:
    """Starts a receiver and calls `show` with one line a delivery. Port 0 takes any; `.port` and `.url` say which."""
    receiver = Receiver(secret, show)
    await receiver.start(host, port)
    return receiver


class Receiver:
    """`deliveries` counts what was accepted, repeats included; `seen` holds the last webhook-ids."""

    def __init__(self, secret: str, show: Callable[[str], None]) -> None:
        self.signer, self.show = Webhook(secret), show
        self.seen: OrderedDict[str, None] = OrderedDict()
        self.deliveries = 0
        self.port = 0
        self.url = ""
        self.runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """ConfigError or DependencyError when the address cannot be had."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/{anywhere:.*}", self.take)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self.runner.setup()
        try:
            await web.TCPSite(self.runner, host, port).start()
        except OSError as error:
            await self.runner.cleanup()
            raise bind_error(error, Address(host, port), "webhook receiver") from error
        self.port = self.runner.addresses[0][1]
        self.url = f"http://{Address(host, self.port)}/"

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            payload = self.signer.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError) as error:
            self.show(f"refused: {error}")
            return web.Response(status=401, text=f"{error}\n")
        self.deliveries += 1
        webhook_id = request.headers["webhook-id"]
        is_repeat = webhook_id in self.seen
        self.seen[webhook_id] = None
        if len(self.seen) > IDS_MAX:
            self.seen.popitem(last=False)
        for line in describe(payload):
            self.show(f"{'again: ' if is_repeat else ''}{line}  [signature ok, {webhook_id}]")
        return web.Response(status=204)


def describe(payload: Any) -> list[str]:
    """A line for each alert of an Alertmanager payload; the JSON itself for anything else."""
    if not isinstance(payload, dict) or not isinstance(payload.get("alerts"), list):
        return [json.dumps(payload)[:500]]
    return [line(alert) for alert in payload["alerts"] if isinstance(alert, dict)]


def line(alert: dict[str, Any]) -> str:
    labels, annotations = alert.get("labels", {}), alert.get("annotations", {})
    told = annotations.get("summary") or f"value {annotations.get('value', '?')}"
    return f"{str(alert.get('status', '?')).upper()} {labels.get('alertname', '?')} {labels.get('entity', '?')}: {told}"
