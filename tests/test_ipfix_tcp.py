"""IPFIX over TCP: messages cut out of the stream, taken by a collector, decoded with templates that may be withdrawn."""

from __future__ import annotations

import asyncio
import random
import struct
from typing import Any

import pyarrow as pa
import pytest

from framecodec.messages import MessageCutter
from streams.config import Config
from streams.decode import open_decoder
from streams.model import FRAMES
from tests.netflow_messages import ROW, SIMPLE, a_set, ipfix, template
from tests.test_collectors import run, until

MESSAGES = [
    ipfix(a_set(2, template(256, *SIMPLE)), sequence=0),
    ipfix(a_set(256, ROW * 40), sequence=0),
    ipfix(sequence=40),                                        # 16 octets, the shortest there is
    ipfix(a_set(256, ROW * 5_000), sequence=40),
]


def cut(pieces: list[bytes]) -> list[bytes]:
    cutter = MessageCutter()
    found = [message for piece in pieces for message in cutter.feed(piece)]
    assert (cutter.pending_bytes, cutter.is_lost) == (0, False)
    return found


def test_messages_come_out_whole_however_the_stream_was_cut() -> None:
    stream = b"".join(MESSAGES)
    assert cut([stream]) == MESSAGES
    assert cut([stream[at : at + 1] for at in range(len(stream))]) == MESSAGES
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ends = sorted(chance.randrange(len(stream)) for _ in range(50))
    assert cut([stream[at:end] for at, end in zip([0, *ends], [*ends, len(stream)], strict=True)]) == MESSAGES
    assert MessageCutter().feed(b"") == []


def test_the_begin_of_a_message_is_kept_and_handed_over_at_the_end() -> None:
    cutter = MessageCutter()
    assert cutter.feed(memoryview(MESSAGES[0] + MESSAGES[1][:7])) == [MESSAGES[0]]
    assert cutter.pending_bytes == 7
    assert (cutter.finish(), cutter.pending_bytes) == (MESSAGES[1][:7], 0)


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">HH", 9, 40) + bytes(36), struct.pack(">HH", 10, 15) + bytes(11)]
)
def test_what_is_no_message_ends_the_stream_and_is_given_as_it_is(garbage: bytes) -> None:
    cutter = MessageCutter()
    assert cutter.feed(MESSAGES[0] + garbage) == [MESSAGES[0], garbage]
    assert cutter.is_lost


def configuration() -> Config:
    return Config.model_validate({
        "collector": {"batch_interval": "5ms"},
        "link": [{"name": "edge", "codec": "netflow", "listen": "tcp://127.0.0.1:0"}],
    })


def rows_after(pieces: list[bytes], count: int) -> list[dict[str, Any]]:
    """What the collector made of a connection that sent these and closed."""

    async def scenario(collector: Any, log: Any, ports: dict[str, int]) -> Any:
        _, writer = await asyncio.open_connection("127.0.0.1", ports["edge"])
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if pieces[-1] == b"?" * 40:
            await until(lambda: not collector.tcp[0].connections, "the collector closed it")
        writer.close()
        await until(lambda: len(log.rows()) >= count, f"{count} rows")
        await until(lambda: collector.losses.total("received") == count, "all of them counted")
        return log

    rows: list[dict[str, Any]] = run(scenario, configuration()).rows()
    return rows


def decoded(rows: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Flows and reasons of rejects of a worker's decoder for that link."""
    decoder = open_decoder(configuration().links[0])
    out = decoder.decode(pa.RecordBatch.from_pylist(rows, schema=FRAMES))
    reasons = [reason for batch in out.rejects for reason in batch["reason"].to_pylist()]
    return sum(batch.num_rows for batch in out.flows), reasons


def test_a_collector_takes_messages_of_an_exporter_and_a_worker_decodes_them() -> None:
    stream = b"".join(MESSAGES)
    rows = rows_after([stream[:50], stream[50:9_000], stream[9_000:]], len(MESSAGES))
    assert [row["frame"] for row in rows] == MESSAGES
    assert {(row["source"], row["link"], row["codec"]) for row in rows} == {("127.0.0.1", "edge", "netflow")}
    assert decoded(rows) == (5_040, [])


def test_a_template_withdrawn_over_tcp_is_gone() -> None:
    withdrawal = ipfix(a_set(2, struct.pack(">HH", 256, 0)), sequence=40)
    rows = rows_after([b"".join([*MESSAGES[:2], withdrawal, ipfix(a_set(256, ROW), sequence=40)])], 4)
    assert decoded(rows) == (40, [])                            # the last set waits for a template


def test_a_connection_closed_inside_a_message_loses_no_octet() -> None:
    rows = rows_after([MESSAGES[0], MESSAGES[1][:100]], 2)
    assert [row["frame"] for row in rows] == [MESSAGES[0], MESSAGES[1][:100]]
    assert decoded(rows) == (0, ["truncated"])


def test_a_sender_of_something_else_is_cut_off_and_its_octets_are_rejected() -> None:
    rows = rows_after([MESSAGES[0], b"?" * 40], 2)
    assert [row["frame"] for row in rows] == [MESSAGES[0], b"?" * 40]
    assert decoded(rows) == (0, ["unknown_version"])


@pytest.mark.parametrize(("host", "source"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
def test_ipv4_and_ipv6_share_a_listener_on_all_addresses(host: str, source: str) -> None:
    config = Config.model_validate({
        "collector": {"batch_interval": "5ms"},
        "link": [{"name": "edge", "codec": "netflow", "listen": "tcp://[::]:0", "allow": ["127.0.0.0/8", "::1"]}],
    })

    async def scenario(collector: Any, log: Any, ports: dict[str, int]) -> Any:
        _, writer = await asyncio.open_connection(host, ports["edge"])
        writer.write(MESSAGES[0])
        writer.close()
        await until(lambda: log.rows(), "the message arrives")
        return log.rows()

    rows = run(scenario, config)
    assert {(row["source"], row["frame"]) for row in rows} == {(source, MESSAGES[0])}
