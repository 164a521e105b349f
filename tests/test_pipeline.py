"""The pipeline of one partition, without Kafka: routing, lateness, state."""

from __future__ import annotations

import random
import struct
from typing import Any

import pyarrow as pa
import pytest

from streams.clock import NS
from streams.config import Config
from streams.decode import OWN_SAMPLES
from streams.ipc import encode
from streams.model import FRAMES, REJECTS, SAMPLES
from streams.pipeline import Output, Pipeline, combine
from tests.netflow_messages import a_set, ipfix
from tests.racks import counter_sample, flow_sample, raw_header, record, sflow, words

NOW = 1_790_000_000 * NS
FOREVER = 1 << 62


def config(codec: str = "sflow", **windows: str) -> Config:
    return Config.model_validate({"link": [{"name": "racks", "codec": codec}], "windows": windows})


def frames(
    datagrams: list[bytes], received_ns: int | list[int] = NOW, link: str = "racks", codec: str = "sflow"
) -> pa.RecordBatch:
    times = received_ns if isinstance(received_ns, list) else [received_ns] * len(datagrams)
    rows = [
        {"received_ns": time, "source": "192.0.2.1", "link": link, "codec": codec, "frame": datagram}
        for time, datagram in zip(times, datagrams, strict=True)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=FRAMES)


def counters(sequence: int, octets: int, port: int = 1) -> bytes:
    """A datagram with the generic counters of one interface: sFlow v5, if_counters (format 1)."""
    generic = words(port, 6, 0, 1_000_000_000, 1, 3, 0, octets, *[0] * 14)
    return sflow(counter_sample(record(1, generic[: 88]), sequence=sequence), sequence=sequence)


def rows(batches: list[pa.RecordBatch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.to_pylist()]


def everything(output: Output) -> dict[str, list[dict[str, Any]]]:
    return {name: rows(batches) for name, batches in vars(output).items()}


def test_frames_become_samples_and_windows() -> None:
    pipeline = Pipeline(config(lateness="0"))
    pipeline.feed(frames([counters(1, 1000)]), NOW)
    pipeline.feed(frames([counters(2, 3500)], NOW + 20 * NS), NOW)
    output = pipeline.close(FOREVER, 7)
    samples = {(row["entity"], row["metric"]): row["value"] for row in rows(output.samples)}
    assert samples["10.0.0.1/if/1", "if_in_octets"] == 3500
    octets = [row for row in rows(output.windows) if row["metric"] == "if_in_octets"]
    assert [(row["increase"], row["rev"]) for row in octets] == [(0.0, 7), (2500.0, 7)]


def test_own_samples_are_taken_whole_or_rejected_wherever_they_are_cut() -> None:
    names = {"entity": "racks", "metric": "received", "kind": "counter", "source": "racks"}
    sample = names | {"time": NOW, "value": 1.0, "quality": 0}
    whole = encode(pa.RecordBatch.from_pylist([sample], schema=SAMPLES))
    broken_index = pa.DictionaryArray.from_arrays(pa.array([7], pa.int32()), pa.array(["racks"]), safe=False)
    batch = pa.RecordBatch.from_pylist([sample], schema=SAMPLES).set_column(2, SAMPLES.field("entity"), broken_index)
    of_others = [whole[:size] for size in range(len(whole))] + [encode(batch), encode(pa.record_batch({"time": [[1]]}))]
    pipeline = Pipeline(config())
    for frame in (whole, *of_others):
        row = {"received_ns": NOW, "source": "somebody", "link": "racks", "codec": OWN_SAMPLES, "frame": frame}
        pipeline.feed(pa.RecordBatch.from_pylist([row], schema=FRAMES), NOW)
    output = pipeline.close(FOREVER, 7)
    taken, refused = rows(output.samples), rows(output.rejects)
    assert len(taken) + len(refused) == 1 + len(of_others)
    assert {row["value"] for row in taken} == {1.0}
    assert {row["reason"] for row in refused} == {"bad_batch"}
    assert len(taken) < 10, "only the mark of the stream's end may be missing"


def test_frames_of_an_unknown_link_are_rejected_one_by_one() -> None:
    pipeline = Pipeline(config())
    pipeline.feed(frames([b"abc", b"de"], link="nobody"), NOW)
    rejects = rows(pipeline.close(NOW, 1).rejects)
    assert [(row["reason"], row["size_bytes"]) for row in rejects] == [("unknown_link", 3), ("unknown_link", 2)]
    assert "no [[link]] is named 'nobody'" in rejects[0]["detail"]


def test_a_batch_of_several_links_is_told_apart() -> None:
    pipeline = Pipeline(config())
    both = pa.Table.from_batches([frames([counters(1, 10)]), frames([b"?"], link="nobody")]).unify_dictionaries()
    pipeline.feed(both.combine_chunks().to_batches()[0], NOW)
    output = everything(pipeline.close(NOW, 1))
    assert output["samples"] and [row["reason"] for row in output["rejects"]] == ["unknown_link"]


def netflow5(sequence: int, octets: int) -> bytes:
    """A NetFlow version 5 message with one record."""
    header = struct.pack(">HHIIIIBBH", 5, 1, 1000, NOW // NS, 0, sequence, 0, 0, 0)
    return header + struct.pack(">IIIHHIIIIHHBBBBHHBBH", 1, 2, 0, 1, 2, 7, octets, 0, 0, 80, 443, 0, 0, 6, 0, 0, 0, 0, 0, 0)


def test_sflow_and_netflow_of_one_link_are_told_apart_by_content_also_after_a_restart() -> None:
    settings = Config.model_validate({"link": [{"name": "racks", "codec": "rack"}], "windows": {"lateness": "0"}})
    datagrams = [each for n in range(1, 5) for each in (counters(n, 1000 * n), netflow5(n, 100 * n), b"", b"\0")]
    before = Pipeline(settings)
    before.feed(frames(datagrams[:8]), NOW)
    first = before.close(NOW, 1)
    after = Pipeline(settings)
    after.load(before.delta(), NOW)
    after.feed(frames(datagrams[8:]), NOW)
    last = after.close(FOREVER, 2)

    samples = rows(first.samples) + rows(last.samples)
    assert [row["value"] for row in samples if row["metric"] == "if_in_octets"] == [1000, 2000, 3000, 4000]
    assert [row["bytes"] for row in rows(first.flows) + rows(last.flows)] == [100, 200, 300, 400]
    assert {row["metric"] for row in samples}.isdisjoint({"sequence_gaps", "sequence_resets"})
    assert len(rows(first.rejects) + rows(last.rejects)) == 8


def test_a_record_without_frames_is_one_reject() -> None:
    pipeline = Pipeline(config())
    pipeline.refuse("frames.rack[0] offset 5: not a batch of FRAMES", 123, NOW)
    (reject,) = rows(pipeline.close(NOW, 1).rejects)
    assert (reject["reason"], reject["size_bytes"]) == ("bad_batch", 123)


def test_what_is_too_late_is_stored_said_and_in_no_window() -> None:
    pipeline = Pipeline(config(lateness="0", allowed_lateness="10s"))
    pipeline.feed(frames([counters(1, 10)], NOW + 100 * NS), NOW)
    pipeline.close(NOW, 1)
    pipeline.feed(frames([counters(2, 20)], NOW), NOW)
    output = everything(pipeline.close(NOW, 2))
    stored = {(row["entity"], row["metric"]) for row in output["samples"] if row["value"] is not None}
    late = {(row["entity"], row["metric"]) for row in output["late"]}
    assert len(stored) > 10
    assert late - stored == {("10.0.0.1/domain/0", "datagrams_received")}       # a window-only one
    assert stored <= late
    assert [row["reason"] for row in output["rejects"]] == ["late"] * len(output["late"])
    assert output["windows"] == []


def report(entity: str, value: float, time_ns: int) -> pa.RecordBatch:
    """What a collector says it received of a sender since its last report."""
    sample = {"time": time_ns, "entity": entity, "metric": "received", "value": value, "kind": "gauge", "source": entity,
              "quality": 0}
    frame = encode(pa.RecordBatch.from_pylist([sample], schema=SAMPLES))
    row = {"received_ns": time_ns, "source": "collector/racks", "link": "racks", "codec": OWN_SAMPLES, "frame": frame}
    return pa.RecordBatch.from_pylist([row], schema=FRAMES)


@pytest.mark.parametrize("ahead_s", [-3000, -600, 0, 600, 3000])
def test_reports_of_a_sender_and_its_own_samples_close_no_window_of_each_other(ahead_s: int) -> None:
    # NetFlow says when its sender thinks it is. Ten minutes of a clock that is so far ahead, and a kill in the middle.
    pipeline = Pipeline(config("netflow"))
    samples: list[dict[str, Any]] = []
    windows: list[dict[str, Any]] = []
    late: list[dict[str, Any]] = []
    for number in range(60):
        now_ns = NOW + 10 * number * NS
        data = ipfix(a_set(0, b""), sequence=2 * number, seconds=now_ns // NS + ahead_s)
        pipeline.feed(frames([data], now_ns, codec="netflow"), now_ns)
        pipeline.feed(report("192.0.2.1", 3.0, now_ns), now_ns)
        output = pipeline.close(now_ns if number < 59 else FOREVER, number + 1)
        samples, late = samples + rows(output.samples), late + rows(output.late)
        windows += rows(output.windows)
        if number == 30:
            state = pipeline.delta() | pipeline.snapshot(0, 1)
            pipeline = Pipeline(config("netflow"))
            pipeline.load(state, now_ns)
    assert late == []
    assert sum(row["vsum"] for row in windows if row["metric"] == "received") == 180
    gaps = [row["value"] for row in samples if row["metric"] == "sequence_gaps"]
    assert sum(row["vsum"] for row in windows if row["metric"] == "sequence_gaps") == sum(gaps) > 0


def test_the_state_of_a_decoder_waits_for_its_first_frame() -> None:
    first, second = Pipeline(config()), Pipeline(config())
    first.feed(frames([counters(1, 10)]), NOW)
    first.close(NOW, 1)
    second.load(first.delta(), NOW)
    assert second.delta()["decoder/racks"], "a checkpoint before the first frame keeps what was loaded"
    second.feed(frames([counters(5, 20)]), NOW)            # datagrams 2, 3 and 4 are missing
    gaps = [row["value"] for row in rows(second.close(NOW, 2).samples) if row["metric"] == "sequence_gaps"]
    assert gaps == [3.0]


def test_a_link_that_gets_another_codec_begins_anew() -> None:
    first, second, third = Pipeline(config()), Pipeline(config(codec="rack")), Pipeline(config(codec="rack"))
    first.feed(frames([counters(1, 10)]), NOW)
    first.close(NOW, 1)
    second.load(first.delta(), NOW)
    second.feed(frames([counters(5, 20)]), NOW)
    assert {row["metric"] for row in rows(second.close(NOW, 2).samples)} >= {"if_in_octets"}
    third.load(second.delta(), NOW)
    third.feed(frames([counters(7, 30)]), NOW)
    gaps = [row["value"] for row in rows(third.close(NOW, 3).samples) if row["metric"] == "sequence_gaps"]
    assert gaps == [1.0]


@pytest.mark.parametrize("seed", range(5))
def test_rows_and_windows_do_not_depend_on_how_input_was_cut(seed: int) -> None:
    generator = random.Random(seed)
    packet = bytes.fromhex("02000000000202000000000108004500001c") + bytes(6) + b"\x11" + bytes(3) + bytes(8) + bytes(8)
    datagrams = [
        sflow(
            counter_sample(record(1, words(1, 6, 0, 10**9, 1, 3, 0, number * 100, *[0] * 14)[:88]), sequence=number),
            flow_sample(raw_header(packet), sequence=number), sequence=number,
        )
        for number in range(1, 200)
    ]
    times = [NOW + number * NS for number in range(len(datagrams))]

    def run(cuts: list[int]) -> tuple[Any, Any]:
        pipeline = Pipeline(config(lateness="5s"))
        samples, windows = [], []
        for start, stop in zip([0, *cuts], [*cuts, len(datagrams)], strict=True):
            pipeline.feed(frames(datagrams[start:stop], times[start:stop]), NOW)
            output = everything(pipeline.close(NOW, 1))
            samples += output["samples"]
            windows += output["windows"]
        windows += everything(pipeline.close(FOREVER, 1))["windows"]
        return samples, sorted(map(str, windows))

    whole = run([])
    cut = run(sorted(generator.sample(range(1, len(datagrams)), 20)))
    assert cut[0] == whole[0]
    assert cut[1] == whole[1]


def test_combine_keeps_order_and_rows_and_the_limit() -> None:
    generator = random.Random(3)
    fixed = {"time": None, "reason": "late", "size_bytes": 0, "detail": "x"}
    batches = []
    for _ in range(60):
        count = generator.choice((1, 3, 40, 90, 250))
        rejects = [fixed | {"source": f"s{generator.randrange(9)}", "offset": number} for number in range(count)]
        batches.append(pa.RecordBatch.from_pylist(rejects, schema=REJECTS))
    combined = combine(batches, 100)
    assert rows(combined) == rows(batches)
    assert max(batch.num_rows for batch in combined) <= 100
    assert len(combined) < sum(-(-batch.num_rows // 100) for batch in batches)
    assert all(batch.schema.equals(REJECTS) for batch in combined)
    assert combine([], 100) == []
