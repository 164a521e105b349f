"""The alert role: rules on closed windows and polls of the database, events to the topic `alerts`, signed webhooks.

    orbitrack alert

`Alerter` is the role without Kafka and network: windows, answers and time in, decisions into the outbox. The engine's state,
the offset of the record that led there, the events and the messages are one transaction of the outbox, so a kill at any
point neither loses nor doubles a decision: what was not committed is decided again from the same windows, or from the next
answer. Events go to Kafka and messages to receivers from the outbox, again and again until they are acknowledged: at least
once, with a constant identity.

One alert process serves an installation: the state of a rule is in its outbox, not in Kafka.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streams.clickhouse.alerts import Records
from streams.clickhouse.polls import ask_polls
from streams.clock import NS, wall_clock_ns
from streams.errors import DependencyError
from streams.folders import make_folder
from streams.ipc import BatchError, decode, encode, read_batch
from streams.kafka import Producer, Topics, committed_offsets, wait_for_topics
from streams.model import WINDOWS
from streams.rules import Answer, Maintenance, Rule, RuleEngine, policy_maintenance
from streams.rules.names import rules_of
from streams.slo import Slo, load
from streams.telemetry import Telemetry
from streams.webhooks import Outbox, Sender, check_webhooks, make_messages

if TYPE_CHECKING:
    from pathlib import Path

    import faust

    from streams.config import Config, Webhook

__all__ = ["Alerter", "create_app", "outbox_path", "run"]

log = logging.getLogger(__name__)

# Without a decision to keep, progress is written this seldom; a restart reads these seconds of windows again.
COMMIT_NS = 5 * NS
TICK_S = 0.2
PUBLISH_MAX = 500
RECORD_S = 5.0
# The last minute that polls look at: windows are closed after their lateness, stored, and rolled up some seconds later.
SETTLED_NS = 30 * NS
# Policies' maintenance is known to the engine so far back (for a backlog) and ahead.
ANNOUNCED_S = 86_400
COUNT_NS = 5 * NS
PRUNE_S = 3600.0


class Alerter:
    """Windows and time in, decisions into the outbox. `take` and `tick` raise only what the outbox raises."""

    def __init__(
        self, rules: Sequence[Rule], outbox: Outbox, webhooks: Sequence[Webhook], window_ns: int = 10 * NS,
        poll_ns: int = 60 * NS,
    ) -> None:
        self.outbox, self.webhooks = outbox, list(webhooks)
        self.rules: Mapping[str, Rule] = {rule.name: rule for rule in rules}
        self.engine = RuleEngine(rules, window_ns, poll_ns=poll_ns)
        rows = outbox.rows()
        if rows:
            self.engine.restore(rows)
        self.applied = outbox.progress()
        self.committed = dict(self.applied)
        self.committed_ns = 0
        self.decided: dict[str, int] = {}                  # events by state, for the metrics

    def take(self, partition: int, offset: int, windows: pa.RecordBatch, now_ns: int) -> bool:
        """One record of the topic `windows`. A record that was applied before is passed over. True: a decision was made."""
        if offset <= self.applied.get(partition, -1):
            return False
        events = self.engine.feed(windows, now_ns)
        self.applied[partition] = offset
        return self.settle(events, now_ns)

    def skip(self, partition: int, offset: int) -> None:
        """A record that holds no windows."""
        self.applied[partition] = max(offset, self.applied.get(partition, -1))

    def hear(self, answers: Iterable[Answer], at_ns: int, now_ns: int) -> bool:
        """What the database said of the rules that ask it, as of `at_ns`. True: a decision was made."""
        return self.settle(self.engine.observe(answers, at_ns, now_ns), now_ns)

    def tick(self, now_ns: int) -> bool:
        """Time passed. True: a decision was made."""
        return self.settle(self.engine.advance(now_ns), now_ns)

    def suppress(self, maintenance: Iterable[Maintenance]) -> None:
        self.engine.suppress(maintenance)

    def settle(self, events: pa.RecordBatch, now_ns: int) -> bool:
        if events.num_rows or now_ns - self.committed_ns >= COMMIT_NS:
            self.commit(events, now_ns)
        return bool(events.num_rows)

    def commit(self, events: pa.RecordBatch, now_ns: int) -> None:
        messages = make_messages(events, self.rules, self.webhooks)
        rows = list(zip(identities(events), (encode(events.slice(row, 1)) for row in range(events.num_rows)), strict=True))
        self.outbox.commit(self.engine.changes(), self.applied, rows, messages, now_ns)
        self.engine.written()
        self.committed, self.committed_ns = dict(self.applied), now_ns
        for state in events.column("state").to_pylist():
            self.decided[state] = self.decided.get(state, 0) + 1

    def forget_progress(self, ends: Mapping[int, int]) -> list[int]:
        """`ends` are the log ends of the topic's partitions. One that ends before what was applied is another topic than
        the one that was read: begin again there. Returns those partitions."""
        renewed = [partition for partition, offset in self.applied.items() if offset >= ends.get(partition, 0)]
        for partition in renewed:
            self.applied[partition] = -1
        return renewed


def identities(events: pa.RecordBatch) -> list[str]:
    """RULE/FINGERPRINT/SEQ of every event: the key of its record."""
    columns = (events.column(name).to_pylist() for name in ("rule", "fingerprint", "seq"))
    return [f"{rule}/{number:016x}/{seq}" for rule, number, seq in zip(*columns, strict=True)]


def outbox_path(config: Config) -> Path:
    return config.data_dir / "alert" / "outbox.sqlite"


class AlertCounts:
    """The role's own metrics."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.windows = telemetry.counter("windows_judged_total", "Closed windows that the rules have seen.")
        self.bad = telemetry.counter("bad_records_total", "Records of the topic windows that hold none; passed over.")
        self.events = telemetry.gauge("alert_events", "Changes of state since the start.", ["state"])
        self.attempts = telemetry.counter("webhook_attempts_total", "Tries at a delivery.", ["webhook", "outcome"])
        self.seconds = telemetry.histogram(
            "webhook_seconds", "From a request to its answer.", ["webhook"], buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
        )
        self.waiting = telemetry.gauge("webhook_waiting_messages", "Messages that were not delivered yet.", ["webhook"])
        self.dead = telemetry.gauge("webhook_dead_messages", "Dead letters in the outbox.", ["webhook"])
        self.overflow = telemetry.gauge("unwatched_entities", "Entities not watched: their rule has too many.")
        self.polls = telemetry.counter("rule_polls_total", "Questions to the database by rules.", ["outcome"])
        self.poll_seconds = telemetry.histogram(
            "rule_poll_seconds", "What one round of questions took.", buckets=(0.03, 0.1, 0.3, 1, 3, 10, 30, 60)
        )

    def attempt(self, webhook: str, outcome: str, latency_ms: float) -> None:
        self.attempts.labels(webhook, outcome).inc()
        self.seconds.labels(webhook).observe(latency_ms / 1000)

    def follow(self, alerter: Alerter) -> None:
        for state, number in alerter.decided.items():
            self.events.labels(state).set(number)
        self.overflow.set(alerter.engine.overflow)
        for row in alerter.outbox.status():
            self.waiting.labels(row["webhook"]).set(row["waiting"])
            self.dead.labels(row["webhook"]).set(row["dead"])


class Role:
    """What runs beside the agent: time, publishing, the sender, the database's copy."""

    def __init__(self, config: Config, alerter: Alerter, slos: Sequence[Slo], telemetry: Telemetry) -> None:
        self.config, self.alerter, self.slos, self.telemetry = config, alerter, slos, telemetry
        self.outbox = alerter.outbox
        self.counts = AlertCounts(telemetry)
        self.sender = Sender(
            self.outbox, config.webhooks, clock=wall_clock_ns, dice=Random(), observe=self.counts.attempt
        )
        dependency = telemetry.dependency("database")
        self.records, self.asking = Records(config.database, dependency), Records(config.database, dependency)
        # Of the table, as it was last heard; after a restart what the engine remembers of it.
        policies = {policy.name for slo in slos for policy in slo.maintenance}
        self.listed = [each for each in alerter.engine.suppressions.maintenance if each.id not in policies]
        self.asked_s = 0                                   # the minute as of which rules have their answers

    def take(self, message: Any) -> None:
        """One record of the topic `windows`."""
        try:
            windows = read_batch(message.value, WINDOWS)
        except BatchError as error:
            log.error("%s-%d offset %d is passed over: %s", message.topic, message.partition, message.offset, error)
            self.counts.bad.inc()
            self.alerter.skip(message.partition, message.offset)
            return
        self.counts.windows.inc(windows.num_rows)
        if self.alerter.take(message.partition, message.offset, windows, wall_clock_ns()):
            self.sender.wake()

    async def tick(self, app: faust.App) -> None:
        """Timers, and the group's offsets after the outbox has them."""
        from faust.types import TP

        topic = Topics(self.config.kafka.prefix).windows
        told: dict[int, int] = {}
        count_at_ns = 0
        while True:
            await asyncio.sleep(TICK_S)
            self.telemetry.heartbeat("loop", within_s=60)
            if self.alerter.tick(wall_clock_ns()):
                self.sender.wake()
            if wall_clock_ns() >= count_at_ns:
                self.counts.follow(self.alerter)
                count_at_ns = wall_clock_ns() + COUNT_NS
            mine = {place.partition for place in app.consumer.assignment() if place.topic == topic}
            new = dict(self.alerter.committed.items() - told.items())
            new = {partition: offset for partition, offset in new.items() if partition in mine and offset >= 0}
            if new:
                await app.consumer._commit({TP(topic, partition): offset + 1 for partition, offset in new.items()})
                told |= new

    async def publish(self) -> None:
        """Events from the outbox to the topic, until Kafka has acknowledged them."""
        topic = Topics(self.config.kafka.prefix).alerts
        async with Producer(self.config.kafka) as producer:
            while True:
                waiting = self.outbox.unpublished(PUBLISH_MAX)
                sent = []
                for _, identity, content in waiting:
                    batch = decode(content)
                    partition = batch.column("fingerprint")[0].as_py() % self.config.kafka.partitions
                    sent.append(await producer.send(topic, partition, batch, key=identity.encode()))
                for each in sent:
                    await each
                self.outbox.published(number for number, _, _ in waiting)
                if len(waiting) < PUBLISH_MAX:
                    await asyncio.sleep(TICK_S)

    async def deliver(self) -> None:
        await self.sender.start()
        try:
            while True:
                await self.sender.watch(PRUNE_S)
                self.outbox.prune(wall_clock_ns())
        finally:
            await self.sender.stop()

    async def record(self) -> None:
        """Attempts into `deliveries`; without a database they wait."""
        while True:
            try:
                attempts = self.outbox.unrecorded(PUBLISH_MAX)
                if attempts:
                    await asyncio.to_thread(self.records.write, attempts)
                    self.outbox.recorded(attempt.number for attempt in attempts)
            except DependencyError as error:
                log.warning("%s (next try in %.0f s)", error, RECORD_S)
            await asyncio.sleep(RECORD_S)

    async def poll(self) -> None:
        """Maintenance out of files and the database, and answers for the rules that ask it; without it what was known holds."""
        loop = asyncio.get_running_loop()
        poll_s = self.config.alert.poll_ns / NS
        while True:
            begin = loop.time()
            try:
                await self.poll_once(wall_clock_ns())
            except DependencyError as error:
                log.warning("%s (next try in %.0f s)", error, poll_s)
                self.counts.polls.labels("away").inc()
            self.counts.poll_seconds.observe(loop.time() - begin)
            await asyncio.sleep(max(0.0, begin + poll_s - loop.time()))

    async def poll_once(self, now_ns: int) -> None:
        announced = policy_maintenance(self.slos, now_ns // NS - ANNOUNCED_S, now_ns // NS + ANNOUNCED_S)
        self.alerter.suppress([*self.listed, *announced])       # also while the database is away
        self.listed = await asyncio.to_thread(self.asking.maintenance)
        self.alerter.suppress([*self.listed, *announced])
        asking = [rule for rule in self.alerter.rules.values() if rule.poll is not None]
        at_s = (now_ns - self.config.windows.lateness_ns - SETTLED_NS) // NS // 60 * 60
        if not asking or at_s == self.asked_s:
            return
        answers, problems = await asyncio.to_thread(self.asking.ask, lambda client: ask_polls(client, asking, at_s))
        self.counts.polls.labels("answered").inc(len(answers))
        self.counts.polls.labels("refused").inc(len(problems))
        for name, problem in problems.items():
            log.error("rule '%s' was not answered: %s", name, problem)
        self.asked_s = at_s
        if self.alerter.hear(answers, at_s * NS, wall_clock_ns()):
            self.sender.wake()


def create_app(config: Config, ends: Mapping[int, int] | None = None) -> faust.App:
    """The Faust app of the alert role, ready to run. ConfigError for rules and secrets that cannot be used.

    `ends`: the log ends of the topic `windows`, see `Alerter.forget_progress`.
    """
    from streams.pipeline import WINDOW_NS
    from streams.shell import die_on_failure, make_app

    telemetry = Telemetry("alert")
    slos = load(config.slo.files)
    alerter = Alerter(
        rules_of(config, slos), Outbox(outbox_path(config)), config.webhooks, WINDOW_NS, max(config.alert.poll_ns, 60 * NS)
    )
    for partition in alerter.forget_progress(ends) if ends is not None else ():
        log.warning("windows-%d ends before what was read of it: it is a new topic, and is read from its start", partition)
    role = Role(config, alerter, slos, telemetry)
    app = make_app(config, "alert", stream_buffer_maxsize=16)

    @app.agent(app.topic(Topics(config.kafka.prefix).windows, key_type=bytes, value_type=bytes))
    @die_on_failure
    async def judge_windows(stream: Any) -> None:
        async for event in stream.noack().events():
            role.take(event.message)

    @app.task
    @die_on_failure
    async def advance_time() -> None:
        await telemetry.start(config.metrics.listen["alert"])
        telemetry.dependency("kafka").up()
        await role.tick(app)

    for task in (role.publish, role.deliver, role.record, role.poll):
        app.task(die_on_failure(task))
    return app


def run(config: Config, log_level: str = "WARNING") -> None:
    """Waits for Kafka, then judges and delivers until SIGTERM. Does not return."""
    from streams.shell import EXIT_FAILED, run_app

    rules_of(config, load(config.slo.files))               # mistakes are told before anything is waited for
    check_webhooks(config.webhooks)
    make_folder(config.data_dir)

    async def prepare() -> dict[int, int]:
        await wait_for_topics(config.kafka)
        topic = Topics(config.kafka.prefix).windows
        offsets = await committed_offsets(config.kafka, f"{config.kafka.prefix}alert", topic)
        return {partition: end for partition, (_, end) in enumerate(offsets)}

    run_app(create_app(config, asyncio.run(prepare())), log_level)
    os._exit(EXIT_FAILED)
