"""Frames in Kafka to closed windows: the whole worker against a plain Faust windowed table on the same packets.

    make bench  or  python benchmarks/bench_worker.py [--frames 2000000] [--peer-frames 20000]

The frames are CCSDS space packets with a CDS time and five 32-bit floats, of four spacecraft. Ours come in batches as a
collector seals them (256 KiB), the peer's one a record, as its users write it. Both run as processes of their own on the
same broker, one after the other. The counts and sums of the windows are compared with numpy's before any time is shown.

Biases: the peer updates one key a packet, where we keep five metrics with sketches and write samples, windows and state
in transactions; the peer's table changes go to its changelog, as Faust does by default. Both share the machine with the
broker, which is why CPU seconds stand beside the rates.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from streams.config import Config
from streams.ipc import decode
from streams.kafka import Producer, Topics, committed_offsets, create_topics, read_partition
from streams.model import FRAMES
from streams.toml import to_toml

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.processes import REPOSITORY, end, environment, role, running_broker

SPACECRAFT = 4
ENTITIES = [f"BENCH-{number}" for number in range(SPACECRAFT)]
PACKETS_PER_BATCH = 256 * 1024 // 64
START_DAY = 25_500                                    # of the CCSDS epoch, 1958-01-01: in 2027
EPOCH_1958_S = -378_691_200
METRICS = [f"P{number}" for number in range(5)]
PACKET = np.dtype([("head", ">u2"), ("sequence", ">u2"), ("length", ">u2"), ("day", ">u2"), ("ms", ">u4"), ("us", ">u2"),
                   ("values", ">f4", 5), ("rest", "u1", 30)])
PEER_PREFIX = "plain."
PER_SECOND = 2000                                     # packets of one spacecraft in a second of event time


HEADER = {
    "version": 3, "type": 1, "secondary_header": 1, "apid": 11, "sequence_flags": 2, "sequence_count": 14, "data_length": 16,
}
TIME = {"day": (16, "day"), "millisecond": (32, "ms"), "microsecond": (16, "us")}


def definition() -> str:
    """XTCE of the packets: primary header, CDS time, five floats."""
    widths = sorted({*HEADER.values()})
    types = [f'<IntegerParameterType name="U{bits}" signed="false">{unsigned(bits)}</IntegerParameterType>' for bits in widths]
    types += [
        f'<IntegerParameterType name="{name}" signed="false"><UnitSet><Unit>{unit}</Unit></UnitSet>{unsigned(bits)}'
        "</IntegerParameterType>"
        for name, (bits, unit) in TIME.items()
    ]
    types.append('<FloatParameterType name="F32" sizeInBits="32"><FloatDataEncoding sizeInBits="32"/></FloatParameterType>')
    parameters = [f'<Parameter name="{name}" parameterTypeRef="U{bits}"/>' for name, bits in HEADER.items()]
    parameters += [f'<Parameter name="{name}" parameterTypeRef="{name}"/>' for name in TIME]
    parameters += [f'<Parameter name="{name}" parameterTypeRef="F32"/>' for name in METRICS]
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<SpaceSystem xmlns="http://www.omg.org/spec/XTCE/20180204" name="Bench"><TelemetryMetaData>
 <ParameterTypeSet>{"".join(types)}</ParameterTypeSet>
 <ParameterSet>{"".join(parameters)}</ParameterSet>
 <ContainerSet>
  <SequenceContainer name="Header" abstract="true"><EntryList>{entries(HEADER)}</EntryList></SequenceContainer>
  <SequenceContainer name="Data"><EntryList>{entries([*TIME, *METRICS])}</EntryList>
   <BaseContainer containerRef="Header"><RestrictionCriteria><Comparison parameterRef="apid" value="100"/></RestrictionCriteria>
   </BaseContainer></SequenceContainer>
 </ContainerSet>
</TelemetryMetaData></SpaceSystem>
"""


def unsigned(bits: int) -> str:
    return f'<IntegerDataEncoding sizeInBits="{bits}" encoding="unsigned"/>'


def entries(names: Iterable[str]) -> str:
    return "".join(f'<ParameterRefEntry parameterRef="{name}"/>' for name in names)


def packets(spacecraft: int, count: int) -> np.ndarray:
    """`count` packets of one spacecraft, PER_SECOND in a second of event time."""
    generator = np.random.default_rng(spacecraft)
    rows = np.zeros(count, PACKET)
    number = np.arange(count)
    rows["head"] = 1 << 11 | 100
    rows["sequence"] = 3 << 14 | number & 0x3FFF
    rows["length"] = PACKET.itemsize - 7
    milliseconds = number * 1000 // PER_SECOND
    rows["day"] = START_DAY + milliseconds // 86_400_000
    rows["ms"] = milliseconds % 86_400_000
    rows["values"] = np.round(generator.lognormal(3, 1, (count, 5)), 2)
    return rows


def frames(spacecraft: int, rows: np.ndarray) -> pa.RecordBatch:
    """One sealed batch, as a collector makes it."""
    count = len(rows)

    def same(name: str) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([name]))

    ends = pa.py_buffer(np.arange(0, (count + 1) * PACKET.itemsize, PACKET.itemsize, dtype=np.int32).tobytes())
    data = pa.Array.from_buffers(pa.binary(), count, [None, ends, pa.py_buffer(rows.tobytes())])
    name = ENTITIES[spacecraft]
    columns = [pa.nulls(count, pa.int64()), same(name), same(name), same("ccsds-packets"), data]
    return pa.RecordBatch.from_arrays(columns, schema=FRAMES)


def settings(folder: Path, bootstrap: str) -> Config:
    file = folder / "bench.xml"
    file.write_text(definition())
    links = [{"name": name, "codec": "ccsds-packets", "definition": str(file), "parameters": METRICS} for name in ENTITIES]
    return Config.model_validate({
        "kafka": {"bootstrap": bootstrap, "partitions": SPACECRAFT, "prefix": "bench."},
        "windows": {"lateness": "5s", "idle_timeout": "2s"}, "link": links, "data_dir": str(folder),
    })


async def fill(config: Config, per_spacecraft: int, peer_topic: str, peer_records: int) -> dict[str, float]:
    """Everything into Kafka before anybody is timed; returns the truth about our part."""
    await create_topics(config.kafka)
    await create_topics(config.kafka.model_copy(update={"prefix": PEER_PREFIX, "partitions": 1}))
    truth = {"count": 0.0, "sum": 0.0}
    topic = Topics(config.kafka.prefix).frames_satellite
    async with Producer(config.kafka) as producer:
        for spacecraft in range(SPACECRAFT):
            rows = packets(spacecraft, per_spacecraft)
            truth["count"] += len(rows)
            truth["sum"] += float(rows["values"][:, 0].astype(np.float64).sum())
            for start in range(0, len(rows), PACKETS_PER_BATCH):
                await producer.send(topic, spacecraft, frames(spacecraft, rows[start : start + PACKETS_PER_BATCH]))
            if spacecraft == 0:
                await producer.send_raw(peer_topic, [row.tobytes() for row in rows[:peer_records]])
    return truth


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def time_ours(config: Config, folder: Path, records: int) -> dict[str, float]:
    """From the first committed checkpoint to the last, so that starting Python and joining the group do not count."""
    file = folder / "orbitrack.toml"
    file.write_text(to_toml(config.model_dump(mode="json", by_alias=True, exclude_none=True)))
    process = role("worker", environment() | {"ORBITRACK_CONFIG": str(file)}, folder / "worker.log")
    topic = Topics(config.kafka.prefix).frames_satellite
    started = used = first = 0.0
    try:
        while True:
            offsets = await committed_offsets(config.kafka, "bench.worker", topic)
            done = sum(max(committed, 0) for committed, _ in offsets)
            now = time.perf_counter()
            if done and not first:
                started, used, first = now, cpu_seconds(process.pid), done
            if done == records:
                seconds, cpu = now - started, cpu_seconds(process.pid) - used
                break
            assert process.poll() is None and (not first or now - started < 300), (folder / "worker.log").read_text()[-3000:]
            await asyncio.sleep(0.02)
        await asyncio.sleep(4)                       # idle_timeout: the last windows close
    finally:
        end(process)
    share = (records - first) / records
    return {"seconds": seconds, "cpu_seconds": cpu, "share": share}


async def our_windows(config: Config) -> dict[str, float]:
    found = {"count": 0.0, "sum": 0.0}
    for partition in range(SPACECRAFT):
        async for record in read_partition(config.kafka, Topics(config.kafka.prefix).windows, partition):
            batch = decode(record.value)
            of_p0 = batch.filter(pa.compute.equal(batch["metric"].cast(pa.utf8()), "/Bench/P0"))
            found["count"] += pa.compute.sum(of_p0["cnt"]).as_py() or 0
            found["sum"] += pa.compute.sum(of_p0["vsum"]).as_py() or 0
    return found


def time_peer(bootstrap: str, topic: str, records: int) -> dict[str, float]:
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "peers" / "faust_table.py"), bootstrap, topic, str(records)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stdout[-2000:] + done.stderr[-2000:]
    found: dict[str, float] = json.loads(lines[-1])
    return found


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--frames", type=int, default=2_000_000)
    arguments.add_argument("--peer-frames", type=int, default=20_000)
    options = arguments.parse_args()
    per_spacecraft = options.frames // SPACECRAFT
    batches = SPACECRAFT * -(-per_spacecraft // PACKETS_PER_BATCH)
    with tempfile.TemporaryDirectory() as name, running_broker(Path(name) / "kafka") as bootstrap:
        folder = Path(name)
        config = settings(folder, bootstrap)
        peer_topic = Topics(PEER_PREFIX).frames_rack
        truth = asyncio.run(fill(config, per_spacecraft, peer_topic, options.peer_frames))
        ours = asyncio.run(time_ours(config, folder, batches))
        found = asyncio.run(our_windows(config))
        assert found["count"] == truth["count"], (found, truth)
        assert np.isclose(found["sum"], truth["sum"], rtol=1e-12), (found, truth)
        peer = time_peer(bootstrap, peer_topic, options.peer_frames)
        expected = float(packets(0, per_spacecraft)[: options.peer_frames]["values"][:, 0].astype(np.float64).sum())
        assert peer["count"] == options.peer_frames and np.isclose(peer["sum"], expected), (peer, expected)
    frames_timed = options.frames * ours["share"]
    our_rate, our_cpu = frames_timed / ours["seconds"], ours["cpu_seconds"] / frames_timed
    peer_rate, peer_cpu = peer["count"] / peer["seconds"], peer["cpu_seconds"] / peer["count"]
    for name, rate, cpu in (("ours", our_rate, our_cpu), ("faust", peer_rate, peer_cpu)):
        print(f"{name:6} {rate:12,.0f} frames/s {1e6 * cpu:8.2f} us CPU a frame   (counts and sums of the windows are right)")
    print(f"ratio  {our_rate / peer_rate:10,.0f} x      {peer_cpu / our_cpu:10,.0f} x     (floor 200 x, ambition 600 x)")
    print(f"cores for 1 M frames/s x 5 metrics: {our_cpu * 1e6:.2f}   (floor 1.5, ambition 0.8)")


if __name__ == "__main__":
    main()
