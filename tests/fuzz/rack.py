"""Fuzzer of the sFlow and NetFlow decoders.

Invariant: whatever the octets are, decode returns; its batches are valid and of their schemas; no more than 16,384 rows
and, one by one or all together, the same rows come out of the same datagrams; held sets stay within their bound. What the
collector gives up last (framecodec.priorities) is a byte a datagram, and the same for each as for all.

    python -m tests.fuzz.rack --seconds 60 [--seed N]          what it prints on failure runs the same again
    python -m tests.fuzz.sanitized rack --seconds 60           the same, with the decoders built for ASan and UBSan

Inputs are captures and hand-made datagrams with lies in them: flipped octets, extreme words, cut, joined, spliced, lengths
and counts overwritten. tests/fuzz/corpus/rack holds inputs worth keeping; test_rack_fuzz.py replays them.
"""

from __future__ import annotations

import os
import random
import struct
import sys
from array import array
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecodec.messages import MessageCutter
from framecodec.netflow import NetflowDecoder
from framecodec.priorities import Priorities
from framecodec.sflow import SflowDecoder
from tests.fuzz.harness import main, mutate
from tests.racks import counter_sample, datagrams, flow_sample, frames, raw_header, record, sample, sflow, taken, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.racks import Datagram

REPOSITORY = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus" / "rack"
BODY_BYTES_MAX = 65_507
ROWS_MAX = 16_384


def seeds() -> dict[str, list[bytes]]:
    """Well-formed datagrams by codec: the corpus, hand-made ones and, where they are, the real captures."""
    found: dict[str, list[bytes]] = {"sflow": [], "netflow": []}
    for codec, bodies in found.items():
        bodies += [path.read_bytes() for path in sorted((CORPUS / codec).glob("*.bin"))]
    labelled = bytes(12) + b"\x81\x00\x00\x07\x88\x47" + struct.pack(">I", 0x110)
    packet = labelled + b"\x60" + bytes(5) + b"\x00\x40" + bytes(72)
    switch, router = record(1001, bytes(16)), record(1002, words(1, 2, 24, 16))
    gateway, mpls = record(1003, words(1, 2, 3, 4, 5, 1, 2, 2, 7, 8, 1, 9, 100)), record(1006, words(1, 9, 1, 0x10000, 0))
    optics = record(10, words(1, 1, 1, 1, 1, 2, *range(9)))
    host = record(2000, words(3) + b"abc\0" + bytes(24) + words(2) + b"6.\0\0")
    found["sflow"] += [
        sflow(flow_sample(raw_header(packet), switch, router)),
        sflow(flow_sample(gateway, mpls)),
        sflow(counter_sample(record(1, bytes(88)), record(2, bytes(52)), optics), agent="2001:db8::1"),
        sflow(counter_sample(host, record(2001, words(1, 2, 1) + bytes(8)))),
        sflow(sample(5, words(1, 0, 3, 9, 3, 4, 258, 1) + record(1036, words(4)))),
    ]
    v9 = struct.pack(">HHIIII", 9, 3, 9000, 1_700_000_000, 1, 7)
    ipfix = struct.pack(">HHIII", 10, 16 + 12 + 14 + 22, 1_700_000_000, 1, 7)
    simple = "0000000c 01000001 00080004 0100000c 0a000001 0a000002"
    sampling = "00010016 01010004 0008 00010004 00220004 00300001 0000 0101000c 00000000 00000064"
    strings = "0002000c 01020001 0052ffff 0102000e ff0003 616263 02 6465 00"
    names = "0003 0016 0103 0002 0001 000a0004 0052ffff 0000"
    found["netflow"] += [
        v9 + bytes.fromhex(simple),
        v9 + bytes.fromhex(sampling),
        ipfix + bytes.fromhex(strings + names),
        struct.pack(">HHIIIIHH", 5, 1, 9000, 1_700_000_000, 0, 1, 0, 0) + bytes(48),
    ]
    root = Path(os.environ.get("ORBITRACK_TESTDATA") or REPOSITORY.parent / "shared" / "data") / "rack"
    for codec, bodies in found.items():
        for path in sorted((root / codec).glob("*.pcap")):
            bodies += [body for _, _, body in datagrams(path)[:6]]
    return found


# Enterprise elements as the captures have them, of every form; the others are kept as octets.
ENTERPRISE = {
    (5951, 130 + number): (f"netscaler_{form}", form, None)
    for number, form in enumerate(("unsigned", "signed", "float", "boolean", "string", "octets", "mac", "address"))
} | {(6871, 33): "flow_id", (637, 91): ("nokia_91", "address", None), (637, 93): ("nokia_93", "string", None)}


def new_decoder(codec: str) -> Any:
    if codec == "sflow":
        return SflowDecoder()
    return NetflowDecoder(enterprise=ENTERPRISE, keeps_unknown=True, udp=False)


def check_stream(stream: bytes) -> None:
    """The messages of a connection do not depend on how its octets were cut, and no octet is lost or doubled."""
    whole, apart = MessageCutter(), MessageCutter()
    messages = whole.feed(stream)
    assert b"".join(messages) + whole.finish() == stream or whole.is_lost
    pieces = [message for at in range(0, len(stream), 7) if not apart.is_lost for message in apart.feed(stream[at : at + 7])]
    assert pieces[:-1] == messages[: len(pieces) - 1]
    assert apart.is_lost == whole.is_lost


def vital(priorities: Priorities, rows: list[Datagram]) -> bytes:
    """A byte a row, of buffers that end where the last datagram does."""
    senders = sorted({sender for _, sender, _ in rows})
    ids = array("i", [senders.index(sender) for _, sender, _ in rows])
    ends = array("i", accumulate((len(body) for _, _, body in rows), initial=0))
    return bytes(priorities.vital(senders, ids, ends, b"".join(body for _, _, body in rows)))


def check_priorities(codec: str, rows: list[Datagram]) -> None:
    """Whether a datagram is vital hangs on its octets and the options templates that were noted, not on its neighbours."""
    priorities = Priorities(codec)
    for _, sender, body in rows:
        priorities.note_frame(sender, body)
    assert vital(priorities, rows) == b"".join(vital(priorities, [row]) for row in rows)


def check(codec: str, bodies: list[bytes]) -> None:
    """The invariant, for datagrams that come one after another."""
    if codec == "netflow":
        check_stream(b"".join(bodies))
    rows: list[Datagram] = [(1_700_000_000 * 10**9 + index, f"192.0.2.{index % 3}", body) for index, body in enumerate(bodies)]
    check_priorities(codec, rows)
    check_priorities("rack", rows)
    decoder = new_decoder(codec)
    together = taken(decoder.decode(frames(rows, codec)))
    for name, found in taken(decoder.finish()).items():
        together[name] += found
    decoder = new_decoder(codec)
    apart: dict[str, list[Any]] = {name: [] for name in together}
    for row in rows:
        out = taken(decoder.decode(frames([row], codec)))
        state = decoder.snapshot()
        decoder = new_decoder(codec)
        decoder.restore(state)
        assert len(out["samples"]) <= ROWS_MAX
        assert all(reject["size_bytes"] >= 0 and reject["offset"] >= 0 for reject in out["rejects"])
        for name, found in out.items():
            apart[name] += found
    if codec == "netflow":
        assert decoder.counters()["held_bytes"] <= 64 << 20
    for name, found in taken(decoder.finish()).items():
        apart[name] += found
    assert apart == together


def trials(seed: int) -> Iterator[tuple[int, str, list[bytes]]]:
    """Endless: (seed of the trial, codec, datagrams)."""
    found = seeds()
    while True:
        chance = random.Random(seed)
        codec = chance.choice(("sflow", "netflow"))
        bodies = found[codec]
        count = chance.randrange(1, 12)
        yield seed, codec, [mutate(chance.choice(bodies), bodies, chance, BODY_BYTES_MAX) for _ in range(count)]
        seed += 1


if __name__ == "__main__":
    sys.exit(main("rack", __doc__, trials, check))
