"""Deliveries: takes what is due from the outbox, posts it, writes down what came of it.

    sender = Sender(outbox, webhooks, clock=wall_clock_ns, dice=Random())
    await sender.start()
    sender.wake()                 # something was put into the outbox
    await sender.stop()

At least once: a message is marked after the answer, so a kill between the two sends it again with the same webhook-id.
One task a webhook, one delivery at a time, in order within a lane.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from streams.clock import NS, Clock
from streams.errors import ConfigError
from streams.webhooks.guard import AddressRefused, GuardedResolver, check_literal
from streams.webhooks.payloads import load_template
from streams.webhooks.retry import circuit_pause_ns, is_permanent, retry_after_ns, retry_pause_ns
from streams.webhooks.signature import check_secret, signed_headers

if TYPE_CHECKING:
    from streams.config import Webhook
    from streams.webhooks.outbox import Outbox, Waiting

__all__ = ["Answer", "Sender", "check_webhooks", "post"]

log = logging.getLogger(__name__)

IDLE_S = 5.0                            # how long a task sleeps at most; a commit wakes it earlier
ANSWER_BYTES_MAX = 512                  # of an error's body, for the message


class Answer:
    """What came of one POST. `status` is None where no answer came."""

    def __init__(self, status: int | None, error: str | None, latency_ms: float, retry_after: str | None = None) -> None:
        self.status, self.error, self.latency_ms, self.retry_after = status, error, latency_ms, retry_after


def check_webhooks(webhooks: Sequence[Webhook]) -> None:
    """ConfigError where a secret cannot sign or is missing, or a template is not JSON."""
    for webhook in webhooks:
        if webhook.format == "pagerduty" and not webhook.secret:
            raise ConfigError(
                f"webhook '{webhook.name}' has no secret", hint='format = "pagerduty" takes the routing key from there'
            )
        if webhook.secret and webhook.format != "pagerduty":
            check_secret(webhook.secret.reveal(), webhook.name)
        if webhook.template is not None:
            load_template(webhook.template)


def open_session(webhook: Webhook) -> aiohttp.ClientSession:
    """No proxies, no cookies, no cached names: the address that was checked is the one that is connected to."""
    connector = aiohttp.TCPConnector(resolver=GuardedResolver(webhook.allow), use_dns_cache=False, limit=1)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=webhook.timeout_ns / NS),
    )


async def post(session: aiohttp.ClientSession, webhook: Webhook, webhook_id: str, body: bytes, now_ns: int) -> Answer:
    """One attempt. Never raises for what a receiver, its name or the network does."""
    secret = webhook.secret.reveal() if webhook.secret and webhook.format != "pagerduty" else None
    headers = {
        "content-type": "application/json", "user-agent": "orbitrack", **signed_headers(secret, webhook_id, now_ns, body),
    }
    begin = time.perf_counter()
    try:
        url = URL(webhook.url)                              # the same reading of the host for the check and the connection
        check_literal(url.raw_host or "", webhook.allow)
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            text = "" if response.ok else (await response.content.read(ANSWER_BYTES_MAX)).decode(errors="replace")
            status, retry_after = response.status, response.headers.get("retry-after")
    except AddressRefused as refused:
        return Answer(None, str(refused), elapsed_ms(begin))
    except TimeoutError:
        return Answer(None, f"no answer within {webhook.timeout_ns / NS:g} s", elapsed_ms(begin))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(None, describe(error), elapsed_ms(begin))
    if 200 <= status < 300:
        return Answer(status, None, elapsed_ms(begin))
    if 300 <= status < 400:
        text = "redirects are not followed; configure the receiver's own address"
    return Answer(status, f"HTTP {status}: {' '.join(text.split())}".rstrip(": "), elapsed_ms(begin), retry_after)


def elapsed_ms(begin: float) -> float:
    return (time.perf_counter() - begin) * 1000


def describe(error: BaseException) -> str:
    """An address that was refused by the resolver comes wrapped; its own words are better."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressRefused):
            return str(cause)
        cause = cause.__cause__
    return f"{type(error).__name__}: {error}"


class Sender:
    """`observe(webhook, outcome, latency_ms)` is called after every attempt; outcome is delivered, retry or dead."""

    def __init__(
        self, outbox: Outbox, webhooks: Sequence[Webhook], *, clock: Clock, dice: Random,
        observe: Callable[[str, str, float], None] = lambda webhook, outcome, latency_ms: None,
    ) -> None:
        self.outbox, self.webhooks, self.clock, self.dice, self.observe = outbox, webhooks, clock, dice, observe
        self.events = {webhook.name: asyncio.Event() for webhook in webhooks}
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        check_webhooks(self.webhooks)
        buried = self.outbox.bury([webhook.name for webhook in self.webhooks], self.clock())
        if buried:
            log.error("%d messages for webhooks that are not configured any more are dead letters now", buried)
        self.tasks = [asyncio.create_task(self.run(webhook)) for webhook in self.webhooks]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks = []

    def wake(self) -> None:
        for event in self.events.values():
            event.set()

    async def watch(self, seconds: float) -> None:
        """Waits so long; raises at once what has ended a task, for none should end."""
        if not self.tasks:
            await asyncio.sleep(seconds)
            return
        done, _ = await asyncio.wait(self.tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def run(self, webhook: Webhook) -> None:
        async with open_session(webhook) as session:
            while True:
                if await self.deliver_next(session, webhook):
                    continue
                await self.sleep(webhook)

    async def sleep(self, webhook: Webhook) -> None:
        """Until something is due, something new came, or IDLE_S."""
        due_ns = self.outbox.next_due_ns(webhook.name)
        pause_s = IDLE_S if due_ns is None else min(IDLE_S, max(0.0, (due_ns - self.clock()) / NS))
        event = self.events[webhook.name]
        try:
            await asyncio.wait_for(event.wait(), pause_s)
        except TimeoutError:
            return
        event.clear()

    async def deliver_due(self) -> int:
        """Sends everything that is due now, and returns how many attempts that took."""
        attempts = 0
        for webhook in self.webhooks:
            async with open_session(webhook) as session:
                while await self.deliver_next(session, webhook):
                    attempts += 1
        return attempts

    async def deliver_next(self, session: aiohttp.ClientSession, webhook: Webhook) -> bool:
        """One attempt at what is due for this webhook; False if nothing is."""
        message = self.outbox.next_due(webhook.name, self.clock())
        if message is None:
            return False
        answer = await post(session, webhook, message.webhook_id, message.body, self.clock())
        outcome = self.note(webhook, message, answer)
        self.observe(webhook.name, outcome, answer.latency_ms)
        return True

    def note(self, webhook: Webhook, message: Waiting, answer: Answer) -> str:
        now_ns = self.clock()
        if answer.error is None and answer.status is not None:
            self.outbox.delivered(message, now_ns, answer.status, answer.latency_ms)
            return "delivered"
        attempts = message.attempts + 1
        is_refused = is_permanent(answer.status)
        failures = self.outbox.failures(webhook.name) + (not is_refused)        # a receiver that refuses a body is there
        asked_ns = retry_after_ns(answer.retry_after, now_ns)
        is_dead = is_refused or attempts >= webhook.max_attempts
        self.outbox.failed(
            message, now_ns, answer.status, answer.error or "", answer.latency_ms,
            due_ns=None if is_dead else now_ns + max(asked_ns, retry_pause_ns(attempts, self.dice)),
            failures=failures, closed_until_ns=now_ns + max(asked_ns, circuit_pause_ns(failures)),
        )
        level = logging.ERROR if is_dead else logging.WARNING
        log.log(
            level, "webhook '%s': %s after attempt %d of %d: %s", webhook.name, "given up" if is_dead else "failed",
            attempts, webhook.max_attempts, answer.error,
        )
        return "dead" if is_dead else "retry"
