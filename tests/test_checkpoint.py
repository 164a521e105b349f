"""Checkpoints: what is written can be read, whatever compaction left."""

from __future__ import annotations

import random

import pytest

from streams.checkpoint import PART_BYTES, SHARDS, Checkpoint, Saved, checkpoint_records, recover

TOPIC = "frames.rack"
Record = tuple[bytes, bytes]


def checkpoint(sequence: int, size: int = 20) -> Checkpoint:
    noise = random.Random(sequence).randbytes(size)
    delta = {"windows": noise, "decoder/racks": b"d%d" % sequence}
    return Checkpoint(sequence, sequence * 10, delta, {"windows": b"s%d" % sequence})


def written(last: int, sizes: dict[int, int] | None = None, topic: str = TOPIC) -> list[Record]:
    """The log after checkpoints 1 to `last`."""
    records: list[Record] = []
    for sequence in range(1, last + 1):
        records += checkpoint_records(topic, checkpoint(sequence, (sizes or {}).get(sequence, 20)))
    return records


def deltas(saved: list[Saved]) -> list[Saved]:
    return [each for each in saved if each.is_delta]


def test_nothing_written_is_nothing_recovered() -> None:
    assert recover(TOPIC, []) == []


@pytest.mark.parametrize("last", [1, 5, SHARDS, SHARDS + 1, 5 * SHARDS + 3])
def test_the_newest_checkpoints_come_back_oldest_first(last: int) -> None:
    saved = recover(TOPIC, written(last))
    assert [each.sequence for each in deltas(saved)] == list(range(max(1, last - SHARDS + 1), last + 1))
    assert [each.sequence for each in saved] == sorted(each.sequence for each in saved)
    newest = deltas(saved)[-1]
    assert newest.applied == last * 10
    assert newest.state == dict(checkpoint(last).delta)


def test_partitions_of_other_topics_in_the_same_log_are_left_alone() -> None:
    saved = recover(TOPIC, written(3) + written(7, topic="frames.satellite"))
    assert deltas(saved)[-1].sequence == 3


def test_a_large_delta_is_cut_into_records_that_kafka_takes() -> None:
    large = checkpoint(4, 3 * PART_BYTES)
    records = checkpoint_records(TOPIC, large)
    assert max(len(value) for _, value in records) < PART_BYTES + 100
    saved = recover(TOPIC, written(3) + records)
    assert deltas(saved)[-1].state == dict(large.delta)


def test_parts_of_an_older_longer_delta_are_passed_over() -> None:
    # Checkpoint 2 was long; checkpoint 18 has its slot and is short, so parts 1, 2, ... of checkpoint 2 survive compaction.
    saved = recover(TOPIC, written(2 + SHARDS, {2: 3 * PART_BYTES}))
    assert [each.sequence for each in deltas(saved)] == list(range(3, 3 + SHARDS))


@pytest.mark.parametrize("seed", range(10))
def test_any_compaction_of_the_log_recovers_the_same(seed: int) -> None:
    generator = random.Random(seed)
    records = written(40, {generator.randrange(1, 41): 2 * PART_BYTES})
    whole = recover(TOPIC, records)
    newest = {key: number for number, (key, _) in enumerate(records)}
    kept = [record for number, record in enumerate(records) if newest[record[0]] == number or generator.random() < 0.3]
    assert recover(TOPIC, kept) == whole


def test_a_hole_in_the_newest_checkpoints_is_an_alarm_and_no_silent_loss() -> None:
    records = [record for record in written(20) if not record[0].startswith(b"frames.rack/delta/2.")]
    with pytest.raises(AssertionError, match="state has lost deltas"):
        recover(TOPIC, records)
