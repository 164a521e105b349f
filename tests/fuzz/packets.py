"""Fuzzer of the space packet decoder and of what runs definitions.

Invariant: whatever the octets are, decode returns; its batches are valid; packets, values, samples and rejects are the same
however the input was cut, and with the state carried into a new decoder at every cut; packets and rejects tile the input, each
octet once; a plan of some parameters gives what the plan of all gives for them.

    python -m tests.fuzz.packets --seconds 60 [--seed N]       what it prints on failure runs the same again
    python -m tests.fuzz.sanitized packets --seconds 60        the same, with the decoders built for ASan and UBSan

Inputs are streams of packets of several definitions (everything that XTCE has, a table, the real ones where they are), damaged:
packets dropped, doubled, moved, octets and lengths overwritten, cut and spliced. tests/fuzz/corpus/packets holds streams worth
keeping, each under the name of the definition it is decoded with.
"""

from __future__ import annotations

import os
import random
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from framecodec.packets import SpacePacketDecoder
from framecodec.plan import Plan
from streams import definitions
from tests.fuzz.harness import main, mutate
from tests.oracle import space_packets
from tests.satellite import Output, same

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
GOOD = Path(__file__).parents[1] / "definitions" / "good"
CORPUS = Path(__file__).parent / "corpus" / "packets"
DATA = Path(os.environ.get("ORBITRACK_TESTDATA") or REPOSITORY.parent / "shared" / "data") / "packets"
STREAM_BYTES_MAX = 8_000
# Name: the definition, its root container, the packet files that it describes.
DEFINITIONS = {
    "everything": (GOOD / "xtce" / "everything.xml", None, ()),  # takes the first octets of a header as kind, count and mode
    "table": (GOOD / "table.csv", None, ()),
    "none": (None, None, ("cygnss/first101.ccsds",)),
    "bogussat": (DATA / "bogussat" / "BogusSAT-2.xml", "/BogusSAT/CCSDSPacket", ("bogussat/Container-UniquePackets.bin",)),
    "hit": (DATA / "imap_hit" / "hit.xtce.xml", None, ("imap_hit/hk.ccsds", "imap_hit/sci_segmented.ccsds")),
    "swapi": (DATA / "imap_swapi" / "swapi.xtce.xml", None, ("imap_swapi/swapi.ccsds",)),
    "jpss": (DATA / "jpss1" / "geolocation.xtce.xml", None, ("jpss1/geolocation.ccsds",)),
}
# Those of the definitions, idle packets, and kinds 1 to 4 of everything.xml.
APIDS = (1, 2, 3, 5, 6, 11, 100, 1188, 2047, 0x142, 0x161, 0x200, 0x282, 0x301, 0x3C4, 0x400, 0x4E1)
# Octets that mean something to the definitions: kinds, modes, counts, letters.
TELLING = (0, 1, 2, 3, 4, 16, 32, 60, 65, 66, 0x7A, 100, 110, 200, 255)


@cache
def definition(name: str) -> definitions.Definition | None:
    path, root, _ = DEFINITIONS[name]
    return definitions.load(path, root) if path is not None else None


@cache
def plan(name: str) -> Plan:
    loaded = definition(name)
    assert loaded is not None
    return Plan(loaded)


@cache
def recorded(name: str) -> list[bytes]:
    """Real packets that the definition describes."""
    files = [DATA / file for file in DEFINITIONS[name][2]]
    return [packet for path in files if path.exists() for _, packet in space_packets.split(path.read_bytes()[:40_000])]


def names() -> list[str]:
    return [name for name, (path, _, _) in DEFINITIONS.items() if path is None or path.exists()]


def made(chance: random.Random, name: str) -> list[bytes]:
    """Packets one after another, in one or two APIDs, with gaps here and there."""
    packets = []
    apids, count = chance.sample(APIDS, 2), chance.randrange(1 << 14)
    real = recorded(name)
    for _ in range(chance.randrange(1, 20)):
        if real and chance.random() < 0.5:
            packets.append(chance.choice(real))
            continue
        size = chance.choice((1, 2, 7, 40, 90, 250))
        body = bytes(chance.choice(TELLING) if chance.random() < 0.6 else chance.randrange(256) for _ in range(size))
        flags = chance.choice((3, 3, 3, 0, 1, 2))
        packets.append(space_packets.packet(chance.choice(apids), count, body, flags=flags, secondary=chance.random() < 0.2))
        count = (count + chance.choice((1, 1, 1, 1, 1, 0, 2, 100))) % (1 << 14)
    return packets


def damage(packets: list[bytes], chance: random.Random) -> bytes:
    packets = list(packets)
    for _ in range(chance.randrange(3)):
        at = chance.randrange(len(packets))
        how = chance.randrange(3)
        if how == 0 and len(packets) > 1:
            del packets[at]
        else:
            packets.insert(chance.randrange(len(packets)), packets.pop(at) if how == 1 else packets[at])
    data = b"".join(packets)[:STREAM_BYTES_MAX]
    return mutate(data, packets, chance, STREAM_BYTES_MAX) if chance.random() < 0.7 else data


def run(name: str, options: dict[str, Any], data: bytes, cuts: list[int], restart: bool) -> Output:
    """Everything that comes out of `data` cut at `cuts`, with a new decoder at every cut if `restart`."""
    decoder = SpacePacketDecoder(definition(name), spacecraft="sat", boundaries="stream", **options)
    outputs = []
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        outputs.append(decoder.decode_bytes(data[begin:end], 1_700_000_000 * 10**9))
        if restart:
            state = decoder.snapshot()
            decoder = SpacePacketDecoder(definition(name), spacecraft="sat", boundaries="stream", **options)
            decoder.restore(state)
    output = Output([*outputs, decoder.finish()])
    # What is wrong with a packet is said when its values are read, what is no packet when it is passed over.
    output.rejects.sort(key=lambda row: (row["offset"], row["reason"]))
    return output


def check(name: str, options: dict[str, Any], data: bytes, cuts: list[int]) -> None:
    """The invariant, for one stream."""
    whole = run(name, options, data, [], restart=False)
    if not options:
        check_tiling(name, data, whole)
    assert all(0 <= row["offset"] <= len(data) for row in whole.packets + whole.rejects)
    assert run(name, options, data, cuts, restart=False).same_as(whole)
    assert run(name, options, data, cuts[::3], restart=True).same_as(whole)
    loaded = definition(name)
    if loaded is not None:
        records = [packet for _, packet in space_packets.split(data)] + [data]
        check_some_parameters(name, loaded, records, random.Random(len(data)))


def check_tiling(name: str, data: bytes, whole: Output) -> None:
    """Packets, rejects and the encapsulation packets, which have no row, share the input without overlapping."""
    decoder = SpacePacketDecoder(definition(name), boundaries="stream", emit=())
    decoder.decode_bytes(data)
    decoder.finish()
    end, covered = 0, decoder.counts.get("encapsulation", {}).get("bytes", 0)
    rows = whole.packets + [row for row in whole.rejects if row["size_bytes"]]
    for offset, size in sorted((row["offset"], row["size_bytes"]) for row in rows):
        assert offset >= end
        end, covered = offset + size, covered + size
    assert end <= len(data) and covered == len(data)


def check_some_parameters(name: str, loaded: definitions.Definition, records: list[bytes], chance: random.Random) -> None:
    asked = chance.sample([parameter.path for parameter in loaded.parameters], 1)
    every, some = values(plan(name), records), values(Plan(loaded, asked), records)
    assert every.keys() == some.keys()
    for number, (container, raw, value) in some.items():
        assert container == every[number][0]
        for whole, part in ((every[number][1], raw), (every[number][2], value)):
            assert all(within(whole[key], part[key]) for key in part), (asked, part)


def values(plan: Plan, records: list[bytes]) -> dict[int, tuple[int, dict[str, Any], dict[str, Any]]]:
    """Record number to container, raw and values."""
    found = {}
    for container, batch in plan.decode(records):
        table = pa.record_batch(batch)
        table.validate(full=True)
        for row in table.to_pylist():
            found[row["packet"]] = container, row["raw"], row["values"]
    return found


def within(whole: Any, part: Any) -> bool:
    """Whether `part` is `whole`, perhaps without some members of structs."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and within(whole[key], part[key]) for key in part)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(within, whole, part))
    return same(whole, part)


def trials(seed: int) -> Iterator[tuple[int, str, dict[str, Any], bytes, list[int]]]:
    """Endless: (seed of the trial, definition, options, stream, places to cut it)."""
    while True:
        chance = random.Random(seed)
        name = chance.choice(names())
        options: dict[str, Any] = {}
        if chance.random() < 0.2:
            options["join_segments"] = True
        if chance.random() < 0.1:
            options["idle"] = False
        packets = made(chance, name)
        if chance.random() < 0.1:
            options["record_header_bytes"] = chance.randrange(1, 9)
            packets = [bytes(options["record_header_bytes"]) + packet for packet in packets]
        data = damage(packets, chance)
        yield seed, name, options, data, sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(12)))
        seed += 1


if __name__ == "__main__":
    sys.exit(main("packets", __doc__, trials, check))
