"""Kafka: topics, producers, and reading one partition to its end.

Every value is a record batch of a schema in `streams/model.py` as streams/ipc.py writes it, marked by the header
`content-type`. A record without that header is a single raw frame of somebody else's producer; its header
`link` names the configured link.

    await wait_for_topics(config.kafka)
    async with Producer(config.kafka) as producer:
        await producer.send(topics.frames_rack, partition, batch)

Not here: Faust (streams/shell.py) and what the records mean.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.helpers import create_ssl_context

from streams.clock import NS
from streams.errors import ConfigError, DependencyError
from streams.ipc import encode
from streams.repeats import Stamp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from ssl import SSLContext

    import pyarrow as pa

    from streams.config import Kafka

__all__ = [
    "ARROW_HEADERS", "METADATA_MAX_AGE_MS", "KafkaError", "Producer", "Topics", "committed_offsets", "connection",
    "create_topics", "is_arrow", "log_start", "next_offset", "read_partition", "retry_visibly", "stamp_of", "tls_context",
    "transactional_producer", "wait_for_broker", "wait_for_topics",
]

log = logging.getLogger(__name__)

CONTENT_TYPE = b"application/vnd.apache.arrow.stream"
ARROW_HEADERS = [("content-type", CONTENT_TYPE)]
STAMP_HEADER = "stamp"

# One batch is sealed at 256 KiB to 1 MiB; a state or output blob is cut at 900 KB. Twice that leaves room for headers.
MESSAGE_BYTES_MAX = 4 << 20
# A consumer of aiokafka 0.14 that looks for the start of a partition asks the leader it knows until it hears of another
# (fetcher.py, _update_fetch_positions): after the death of a broker that took the five minutes of the default.
METADATA_MAX_AGE_MS = 10_000
# Over TLS a broker does not answer our goodbye while a fetch waits at it, and asyncio would await that answer for 30 s.
LEAVE_S = 0.5
FETCH_BYTES_MAX = 8 << 20
RETRY_DELAYS_S = (0.2, 0.5, 1, 2, 5)


@dataclass(frozen=True)
class Topics:
    """The names of our topics under a prefix."""

    prefix: str = ""

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.prefix + name.replace("_", ".")

    def all(self) -> dict[str, dict[str, str]]:
        """Every topic with its settings."""
        compacted = {
            "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1",
            "segment.ms": "600000", "segment.bytes": "67108864",
        }
        names = ("frames_rack", "frames_satellite", "samples", "flows", "windows", "rejects", "alerts", "late", "quarantine")
        return {getattr(self, name): {} for name in names} | {self.state: compacted}


def is_arrow(headers: Any) -> bool:
    """Whether record headers (pairs or a mapping) say that the value is an Arrow batch."""
    return dict(headers or ()).get("content-type") == CONTENT_TYPE


def stamp_of(headers: Any) -> Stamp | None:
    """The stamp that a collector gave to this batch; None for a record of anybody else."""
    text = dict(headers or ()).get(STAMP_HEADER)
    return Stamp.parse(text) if text else None


def connection(kafka: Kafka) -> dict[str, Any]:
    """How to reach the brokers and who we are, for any client of aiokafka. ConfigError for certificates that cannot be read."""
    protocol = ("SASL_" if kafka.user else "") + ("SSL" if kafka.tls else "PLAINTEXT")
    arguments: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap, "security_protocol": protocol}
    if kafka.tls:
        arguments["ssl_context"] = tls_context(kafka)
    if kafka.user and kafka.password:
        arguments["sasl_mechanism"] = kafka.mechanism
        arguments |= {"sasl_plain_username": kafka.user, "sasl_plain_password": kafka.password.reveal()}
    return arguments


def no_passphrase() -> str:
    """Nobody could type one: roles start by themselves."""
    raise ConfigError("[kafka] key: is encrypted", hint="openssl pkey -in KEY -out PLAIN, readable for orbitrack only")


def tls_context(kafka: Kafka) -> SSLContext:
    """Verifies the brokers' names and certificates. ConfigError for files that hold none."""
    try:
        context: SSLContext = create_ssl_context(
            cafile=kafka.ca, certfile=kafka.certificate, keyfile=kafka.key, password=no_passphrase
        )
    except OSError as error:                              # ssl.SSLError is one, and so is a file that cannot be read
        files = ", ".join(str(each) for each in (kafka.ca, kafka.certificate, kafka.key) if each is not None)
        raise ConfigError(f"[kafka] {files}: no certificates that can be used: {error}") from error
    return context


class Producer:
    """An idempotent producer of Arrow batches: what `send` acknowledged is in Kafka once and in order.

    It never gives up on a batch while it lives: retries carry the same producer id and sequence, so the broker stores them
    once. `request_timeout_ms` is how long it waits for one answer before it asks again.
    """

    def __init__(self, kafka: Kafka, *, request_timeout_ms: int = 40_000) -> None:
        self.kafka, self.request_timeout_ms = kafka, request_timeout_ms
        self.producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        self.producer = AIOKafkaProducer(
            **connection(self.kafka), enable_idempotence=True, acks="all", linger_ms=2,
            max_request_size=MESSAGE_BYTES_MAX, max_batch_size=1 << 20, retry_backoff_ms=20,
            request_timeout_ms=self.request_timeout_ms,
        )
        # aiokafka 0.14 retries an idempotent batch without end, but for one case (message_accumulator.py, drain_by_nodes):
        # older than request_timeout_ms, and the metadata know no leader of its partition, as when that broker died: the
        # batch fails, stored or not. No public setting parts the two times.
        self.producer._message_accumulator._batch_ttl = math.inf
        await self.producer.start()

    async def stop(self) -> None:
        if self.producer is not None:
            await self.producer.stop()

    async def __aenter__(self) -> Producer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def send(
        self, topic: str, partition: int, batch: pa.RecordBatch, key: bytes | None = None, stamp: Stamp | None = None
    ) -> Awaitable[Any]:
        """Hands a batch over (waits only while the producer's buffer is full); await the result for the acknowledgement.

        With a `stamp` the worker knows a batch again that was sent by another producer before.
        """
        assert self.producer is not None, "send before start"
        headers = ARROW_HEADERS if stamp is None else [*ARROW_HEADERS, (STAMP_HEADER, str(stamp).encode())]
        sent: Awaitable[Any] = await self.producer.send(topic, encode(batch), key=key, partition=partition, headers=headers)
        return sent

    async def send_raw(self, topic: str, values: Iterable[bytes], partition: int = 0) -> None:
        """Single raw frames, one a record, as other people's producers write them; waits until they are there."""
        assert self.producer is not None, "send_raw before start"
        await asyncio.gather(*[await self.producer.send(topic, value, partition=partition) for value in values])

    async def put_aside(self, topic: str, partition: int, key: str, value: bytes, error: str) -> None:
        """Writes a raw record with the error that it caused, and waits until it is there."""
        assert self.producer is not None, "put_aside before start"
        headers = [("error", error.encode())]
        await self.producer.send_and_wait(topic, value, key=key.encode(), partition=partition, headers=headers)


def transactional_producer(kafka: Kafka, transactional_id: str) -> AIOKafkaProducer:
    """A producer for one source partition. Its start() fences every older owner and ends their open transaction."""
    return AIOKafkaProducer(
        **connection(kafka), transactional_id=transactional_id, transaction_timeout_ms=30_000,
        max_request_size=MESSAGE_BYTES_MAX, max_batch_size=1 << 20,
        # The broker's check of a transaction shows as "NotEnoughReplicas"; harmless, but worth a quick retry.
        retry_backoff_ms=20,
    )


def partition_consumer(kafka: Kafka, group: str | None = None) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **connection(kafka), group_id=group, isolation_level="read_committed", auto_offset_reset="earliest",
        enable_auto_commit=False, max_partition_fetch_bytes=FETCH_BYTES_MAX, fetch_max_wait_ms=50,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
    )


async def leave(consumer: AIOKafkaConsumer) -> None:
    """Ends a consumer that has nothing to commit."""
    with suppress(TimeoutError):
        await asyncio.wait_for(consumer.stop(), LEAVE_S)


async def read_partition(kafka: Kafka, topic: str, partition: int, first: int = 0) -> AsyncGenerator[Any, None]:
    """Every committed record of a partition from offset `first`, or from its start, to its present end, in order."""
    consumer = partition_consumer(kafka)
    await consumer.start()
    try:
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        if first:
            consumer.seek(place, first)                   # one that retention has deleted: from the start
        else:
            await consumer.seek_to_beginning(place)
        while await consumer.position(place) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    yield record
    finally:
        await leave(consumer)


async def committed_offsets(kafka: Kafka, group: str, topic: str) -> list[tuple[int, int]]:
    """(committed, end) offsets of a group for every partition of a topic; -1 where it has committed nothing."""
    consumer = partition_consumer(kafka, group)
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for partition in range(kafka.partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        committed = [await consumer.committed(place) for place in places]
        return [(-1 if offset is None else offset, ends[place]) for offset, place in zip(committed, places, strict=True)]
    finally:
        await leave(consumer)


async def log_start(kafka: Kafka, topic: str, partition: int) -> int:
    """The first offset that the log of a partition still has."""
    consumer = partition_consumer(kafka)
    await consumer.start()
    try:
        place = TopicPartition(topic, partition)
        offsets: dict[TopicPartition, int] = await consumer.beginning_offsets([place])
        return offsets[place]
    finally:
        await leave(consumer)


async def next_offset(kafka: Kafka, topic: str, partition: int, first: int) -> int | None:
    """The offset of the first committed record of a partition from `first` on; None where there is none yet."""
    async with aclosing(read_partition(kafka, topic, partition, first)) as records:
        async for record in records:
            return int(record.offset)
    return None


async def create_topics(kafka: Kafka) -> None:
    """Creates what is missing. A topic that is there keeps its settings and its number of partitions.

    ConfigError where those are fewer than `[kafka] partitions`: frames and state of the others would have no place.
    """
    admin = AIOKafkaAdminClient(**connection(kafka))
    await admin.start()
    try:
        described = await admin.describe_topics()
        existing = {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}
        check_partitions(kafka, existing)
        replicas = str(max(1, min(2, kafka.replication)))
        wanted = [
            NewTopic(
                name, kafka.partitions, kafka.replication,
                topic_configs={"max.message.bytes": str(MESSAGE_BYTES_MAX), "min.insync.replicas": replicas} | settings,
            )
            for name, settings in Topics(kafka.prefix).all().items() if name not in existing
        ]
        if wanted:
            response = await admin.create_topics(wanted)
            for name, code, *_ in response.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    # Too few brokers for `replication` is what a cluster that starts says too: whoever waits, waits on.
                    raise DependencyError(f"Kafka refused to create the topic '{name}': {error.__name__}")
    finally:
        await admin.close()


def check_partitions(kafka: Kafka, existing: dict[str, int]) -> None:
    for name in Topics(kafka.prefix).all():
        if existing.get(name, kafka.partitions) < kafka.partitions:
            raise ConfigError(
                f"[kafka] partitions = {kafka.partitions}, but the topic '{name}' has {existing[name]}",
                hint=f"write partitions = {existing[name]}, or another prefix for new topics",
            )


async def retry_visibly(what: str, attempt: Any, errors: tuple[type[BaseException], ...], deadline_s: float) -> Any:
    """Calls `attempt()` until it succeeds, with growing pauses, a log line a try, and an end.

    DependencyError when that end is reached, and at once for one that waiting cannot mend.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    tries = 0
    while True:
        try:
            return await attempt()
        except errors as error:
            if isinstance(error, DependencyError) and not error.retryable:
                raise
            tries += 1
            delay = RETRY_DELAYS_S[min(tries, len(RETRY_DELAYS_S)) - 1]
            if loop.time() + delay > end:
                raise DependencyError(f"{what} is away after {tries} tries over {deadline_s:.0f} s: {error}") from error
            log.warning("waiting for %s (try %d, next in %.1f s): %s", what, tries, delay, error)
            await asyncio.sleep(delay)


async def wait_for_broker(kafka: Kafka, deadline_s: float | None = None) -> None:
    """Returns when the brokers answer; DependencyError (exit status 3) when they do not in time.

    `deadline_s`: default `[kafka] wait`.
    """

    async def ask() -> None:
        admin = AIOKafkaAdminClient(**connection(kafka))
        try:
            await admin.start()
            await admin.list_topics()
        finally:
            await admin.close()

    await wait_for_kafka(kafka, ask, deadline_s)


async def wait_for_topics(kafka: Kafka, deadline_s: float | None = None) -> None:
    """The same, and every topic is there."""
    await wait_for_kafka(kafka, lambda: create_topics(kafka), deadline_s)


async def wait_for_kafka(kafka: Kafka, attempt: Callable[[], Awaitable[None]], deadline_s: float | None) -> None:
    limit_s = kafka.wait_ns / NS if deadline_s is None else deadline_s
    await retry_visibly(f"Kafka at {kafka.bootstrap}", attempt, (KafkaError, DependencyError, OSError), limit_s)
