"""Batches sent twice are counted once: streams.repeats, alone and in a pipeline."""

from __future__ import annotations

import pytest

from streams.kafka import stamp_of
from streams.pipeline import Pipeline
from streams.repeats import Repeats, Stamp
from tests.test_pipeline import FOREVER, NOW, config, counters, everything, frames


@pytest.mark.parametrize("stamp", [Stamp("a1b2/racks", 1), Stamp("a1b2/sat.1-x", 10**15)])
def test_a_stamp_survives_its_header(stamp: Stamp) -> None:
    assert stamp_of([("content-type", b"x"), ("stamp", str(stamp).encode())]) == stamp


NO_STAMPS = [b"", b"/", b"7", b"/7", b"a/", b"a/-7", b"a/7x", b"\xff/\xc3", "a/\u0663".encode(), b"a/" + b"9" * 5000,
             b"a" * 127 + b"/1"]


@pytest.mark.parametrize("text", NO_STAMPS)
def test_what_others_write_into_the_header_is_no_stamp(text: bytes) -> None:
    assert stamp_of([("stamp", text)]) is None


def test_only_what_goes_beyond_the_last_of_its_stream_is_new() -> None:
    repeats = Repeats()
    taken = [repeats.take(Stamp(stream, number)) for stream, number in (
        ("a", 1), ("a", 2), ("a", 2), ("b", 1), ("a", 1), ("a", 5), ("a", 4), ("b", 1), ("b", 2),
    )]
    assert taken == [True, True, False, True, False, True, False, False, True]


def test_the_stream_silent_for_longest_is_forgotten_first() -> None:
    repeats = Repeats(streams_max=2)
    for stream, number in (("a", 1), ("b", 1), ("a", 2), ("c", 1)):
        repeats.take(Stamp(stream, number))
    assert set(repeats.last) == {"a", "c"}


def test_a_repeated_batch_changes_nothing_also_after_a_restart() -> None:
    first, second = frames([counters(1, 1000)]), frames([counters(2, 3000)], NOW + 20_000_000_000)
    once = Pipeline(config(lateness="0"))
    for batch in (first, second):
        once.feed(batch, NOW)

    before = Pipeline(config(lateness="0"))
    assert before.feed(first, NOW, Stamp("run/racks", 1))
    assert not before.feed(first, NOW, Stamp("run/racks", 1))
    early = before.close(NOW, 7)
    after = Pipeline(config(lateness="0"))
    after.load(before.delta(), NOW)
    assert not after.feed(first, NOW, Stamp("run/racks", 1))
    assert after.feed(second, NOW, Stamp("run/racks", 2))
    assert not after.feed(second, NOW, Stamp("run/racks", 2))

    wanted, (begin, end) = everything(once.close(FOREVER, 7)), (everything(early), everything(after.close(FOREVER, 7)))
    assert {name: begin[name] + end[name] for name in wanted} == wanted


def test_the_same_number_of_another_stream_is_another_batch() -> None:
    pipeline = Pipeline(config())
    assert pipeline.feed(frames([counters(1, 1000)]), NOW, Stamp("run-1/racks", 1))
    assert pipeline.feed(frames([counters(2, 1000)]), NOW, Stamp("run-2/racks", 1))
    assert pipeline.feed(frames([counters(3, 1000)]), NOW, None)
