"""One transfer frame, bit by bit: TM (CCSDS 132.0-B), AOS (732.0-B), USLP (732.1-B), and the CADU around it (131.0-B).

    report = inspect_frame(frame, "aos", FrameLayout(fecf_bytes=2))
    for line in streams.inspect.text_lines(report): print(line)

The fields come from tables that can be laid beside the standards (clauses from memory), not from the decoder, so that a
difference between the two shows. What does not fit is marked at the field to blame. Knows no files and no other frame: whether
one is missing before this one, `orbitrack decode` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from framecodec.coding import ReedSolomon, crc16_of, crc32_of, randomized
from framecodec.header_check import HeaderCheck
from streams.inspect import Report, Span, bits_at

__all__ = ["Cadu", "FrameLayout", "inspect_cadu", "inspect_frame"]

MARKER = 0x1ACFFC1D
MARKER_BYTES = 4

Fields = tuple[tuple[str, int], ...]

# 132.0-B 4.1.2: name and width.
TM: Fields = (
    ("version number", 2), ("spacecraft id", 10), ("virtual channel id", 3), ("OCF flag", 1), ("master channel frame count", 8),
    ("virtual channel frame count", 8), ("secondary header flag", 1), ("synchronization flag", 1), ("packet order flag", 1),
    ("segment length id", 2), ("first header pointer", 11),
)
TM_SECONDARY: Fields = (("secondary header version", 2), ("secondary header length", 6))
# 732.0-B 4.1.2
AOS: Fields = (
    ("version number", 2), ("spacecraft id", 8), ("virtual channel id", 6), ("virtual channel frame count", 24),
    ("replay flag", 1), ("frame count usage flag", 1), ("spare", 2), ("frame count cycle", 4),
)
M_PDU: Fields = (("spare", 5), ("first header pointer", 11))
# 732.1-B 4.1.2
USLP: Fields = (
    ("version number", 4), ("spacecraft id", 16), ("source-or-destination id", 1), ("virtual channel id", 6), ("MAP id", 4),
    ("end of header flag", 1),
)
USLP_REST: Fields = (
    ("frame length", 16), ("bypass flag", 1), ("protocol control command flag", 1), ("spare", 2), ("OCF flag", 1),
    ("frame count length", 3),
)
TFDF: Fields = (("construction rule", 3), ("protocol id", 5))
# 232.0-B 4.2: a report of the receiving end of telecommands.
CLCW: Fields = (
    ("CLCW: control word type", 1), ("CLCW: version number", 2), ("CLCW: status field", 3), ("CLCW: COP in effect", 2),
    ("CLCW: virtual channel id", 6), ("CLCW: spare", 2), ("CLCW: no RF available", 1), ("CLCW: no bit lock", 1),
    ("CLCW: lockout", 1), ("CLCW: wait", 1), ("CLCW: retransmit", 1), ("CLCW: FARM-B counter", 2), ("CLCW: spare", 1),
    ("CLCW: report value", 8),
)
OCF_BYTES = 4

VERSIONS = {"tm": ("version number", 0), "aos": ("version number", 1), "uslp": ("version number", 12)}
NAMES = {"tm": "TM", "aos": "AOS", "uslp": "USLP"}
# 732.1-B table 4-3
RULES = (
    "packets, going on over frames", "SDU, going on over frames", "continues an SDU", "octet stream", "first segment",
    "segment", "last segment", "nothing but whole ones",
)
RULES_WITH_POINTER = 3
PROTOCOLS = {0: "packets", 1: "COP-1 control commands", 2: "COP-P control commands", 3: "SDLS commands", 31: "only idle data"}
ONLY_IDLE_CHANNEL = 63


@dataclass(frozen=True)
class FrameLayout:
    """What a frame does not say of itself: the managed parameters of its link. `ocf` None: as the header says."""

    fecf_bytes: int = 0
    ocf: bool | None = None
    insert_zone: int = 0
    header_check: bool = False


@dataclass(frozen=True)
class Cadu:
    """The block behind a sync marker. `corrected`: symbols of each codeword, None for one that cannot be corrected."""

    phase: int                       # the bit of the first byte at which the marker begins
    is_inverted: bool
    wrong_bits: int                  # of the marker
    corrected: list[int | None]
    frame: bytes | None


@dataclass
class Reader:
    """Takes fields from the front of a frame."""

    data: bytes
    end: int                         # bytes that are not of the trailer
    bit: int = 0
    spans: list[Span] = field(default_factory=list)

    def take(self, name: str, width: int, value: str = "") -> int:
        """The field's number; one that is not there is marked, and 0."""
        if self.bit + width > 8 * self.end:
            self.spans.append(Span(name, self.bit, width, problem="is not in the frame"))
            self.bit += width
            return 0
        number = bits_at(self.data, self.bit, width)
        self.spans.append(Span(name, self.bit, width, str(number), value))
        self.bit += width
        return number

    def take_all(self, fields: Fields) -> dict[str, int]:
        return {name: self.take(name, width) for name, width in fields}

    def take_bytes(self, name: str, size: int, value: str = "") -> None:
        if size > 0:
            here = self.data[self.byte : min(self.byte + size, self.end)]
            problem = "" if len(here) == size else "is not in the frame"
            self.spans.append(Span(name, self.bit, 8 * (len(here) or size), value=value, problem=problem))
            self.bit += 8 * size

    def say(self, name: str, value: str = "", problem: str = "") -> None:
        """More about the last field of this name."""
        index = max(index for index, span in enumerate(self.spans) if span.name == name)
        span = self.spans[index]
        self.spans[index] = replace(span, value=value or span.value, problem=problem or span.problem)

    @property
    def byte(self) -> int:
        return self.bit // 8


def inspect_frame(frame: bytes, kind: str, layout: FrameLayout) -> Report:
    """`kind` is tm, aos, uslp, or cadu for what the frame's version number says."""
    if kind == "cadu":
        kind = "uslp" if frame[:1] and frame[0] >> 4 == 12 else "aos" if frame[:1] and frame[0] >> 6 == 1 else "tm"
    reader = Reader(frame, max(0, len(frame) - layout.fecf_bytes))
    pointer, is_packets = {"tm": read_tm, "aos": read_aos, "uslp": read_uslp}[kind](reader, layout)
    has_ocf = layout.ocf
    if has_ocf is None:
        has_ocf = any(span.name == "OCF flag" and span.raw == "1" for span in reader.spans)
    zone_end = reader.end - OCF_BYTES * has_ocf
    version, wanted = VERSIONS[kind]
    if reader.spans[0].raw not in ("", str(wanted)):
        reader.say(version, problem=f"that of {NAMES[kind]} is {wanted}")
    read_zone(reader, zone_end, pointer, is_packets)
    if has_ocf:
        reader.bit = 8 * max(zone_end, reader.byte)
        if reader.take(*CLCW[0]) == 0:
            reader.take_all(CLCW[1:])
        else:
            reader.take("OCF: project-specific", 8 * OCF_BYTES - 1)
    spans = [*reader.spans, *fecf_spans(frame, layout, kind)]
    return Report(frame, title=f"{NAMES[kind]} transfer frame, {len(frame)} bytes", spans=spans)


def fecf_spans(frame: bytes, layout: FrameLayout, kind: str) -> Iterator[Span]:
    size = layout.fecf_bytes
    is_truncated = kind == "uslp" and len(frame) > 3 and frame[3] & 1
    if not size or is_truncated or len(frame) <= size:
        return
    computed = (crc32_of if size == 4 else crc16_of)(frame[:-size])
    sent = int.from_bytes(frame[-size:], "big")
    problem = "" if sent == computed else f"the frame's is {computed:0{2 * size}x}"
    yield Span("frame error control", 8 * (len(frame) - size), 8 * size, f"{sent:0{2 * size}x}", problem=problem)


# Each gives the first header pointer (None: no packet begins) and whether the zone has packets at all.
def read_tm(reader: Reader, layout: FrameLayout) -> tuple[int | None, bool]:
    fields = reader.take_all(TM)
    if fields["secondary header flag"]:
        length = reader.take_all(TM_SECONDARY)["secondary header length"]
        reader.take_bytes("secondary header data", length)
    if fields["synchronization flag"]:
        reader.say("synchronization flag", "no packets")
        return None, False
    return pointed(reader, fields["first header pointer"])


def read_aos(reader: Reader, layout: FrameLayout) -> tuple[int | None, bool]:
    fields = reader.take_all(AOS)
    if layout.header_check:
        reader.take("frame header error control", 16)
        if len(reader.data) >= 8:
            reader.say("frame header error control", problem=header_problem(reader.data))
    reader.take_bytes("insert zone", layout.insert_zone)
    if fields["virtual channel id"] == ONLY_IDLE_CHANNEL:
        reader.say("virtual channel id", "only idle data")
        return None, False
    return pointed(reader, reader.take_all(M_PDU)["first header pointer"])


def read_uslp(reader: Reader, layout: FrameLayout) -> tuple[int | None, bool]:
    fields = reader.take_all(USLP)
    if fields["end of header flag"]:
        reader.say("end of header flag", "truncated frame")
        reader.end = len(reader.data)
        return read_tfdf(reader, fields["virtual channel id"], False)
    rest = reader.take_all(USLP_REST)
    if rest["frame length"] + 1 != len(reader.data):
        reader.say("frame length", f"{rest['frame length'] + 1} bytes", f"there are {len(reader.data)}")
    if rest["frame count length"]:
        reader.take("virtual channel frame count", 8 * rest["frame count length"])
    reader.take_bytes("insert zone", layout.insert_zone)
    return read_tfdf(reader, fields["virtual channel id"], bool(rest["protocol control command flag"]))


def read_tfdf(reader: Reader, vcid: int, is_control: bool) -> tuple[int | None, bool]:
    fields = reader.take_all(TFDF)
    rule, protocol = fields["construction rule"], fields["protocol id"]
    reader.say("construction rule", RULES[rule])
    reader.say("protocol id", PROTOCOLS.get(protocol, ""))
    pointer = reader.take("first header pointer", 16) if rule < RULES_WITH_POINTER else 0xFFFF if rule in (5, 6) else 0
    if rule < RULES_WITH_POINTER and pointer == 0xFFFF:
        reader.say("first header pointer", "none begins")
    is_packets = protocol == 0 and rule in (0, 4, 5, 6, 7) and vcid != ONLY_IDLE_CHANNEL and not is_control
    return None if pointer == 0xFFFF else pointer, is_packets


def pointed(reader: Reader, pointer: int) -> tuple[int | None, bool]:
    """TM's and AOS' pointer: all ones, no packet begins; one less, nothing but idle data."""
    if pointer in (0x7FF, 0x7FE):
        reader.say("first header pointer", "no packet begins" if pointer == 0x7FF else "only idle data")
        return None, pointer == 0x7FF
    return pointer, True


def header_problem(frame: bytes) -> str:
    header, wrong = HeaderCheck().corrected(frame)
    if wrong == 0:
        return ""
    if wrong is None:
        return "more symbols of the header are wrong than can be corrected"
    changed = [str(index) for index in range(8) if header[index] != frame[index]]
    return f"symbols of octets {', '.join(changed)} are wrong; corrected, the header is {header.hex()}"


def read_zone(reader: Reader, end: int, pointer: int | None, is_packets: bool) -> None:
    """The rest of the frame, packet by packet if it has packets."""
    start = reader.byte
    if start > end:
        reader.spans.append(Span("packet zone", 8 * start, 0, problem=f"the frame is {start - end} bytes too short"))
        return
    if not is_packets or pointer is None:
        reader.take_bytes("a packet goes on" if is_packets else "data", end - start)
        return
    if start + pointer > end:
        reader.say("first header pointer", problem=f"the packet zone has {end - start} bytes")
        reader.take_bytes("data", end - start)
        return
    reader.take_bytes("end of a packet", pointer)
    while reader.byte < end:
        left = reader.data[reader.byte : end]
        if left[0] >> 5:
            reader.take_bytes("encapsulation packets" if left[0] >> 5 == 7 else "no space packet", len(left))
            return
        if len(left) < 6:
            reader.take_bytes("beginning of a packet", len(left))
            return
        apid, count, size = bits_at(left, 5, 11), bits_at(left, 18, 14), bits_at(left, 32, 16) + 7
        name = "packet" if size <= len(left) else "beginning of a packet"
        reader.take_bytes(name, min(size, len(left)), f"APID {apid}, count {count}, {size} bytes")


def inspect_cadu(data: bytes, block_bytes: int, *, code: ReedSolomon | None, is_randomized: bool) -> Cadu:
    """The CADU that begins in the first byte of `data` (with one byte more than it has, unless it begins at bit 0).

    `block_bytes` counts the marker. The marker is taken at the bit and polarity where it has the fewest wrong bits.
    """
    number = int.from_bytes(data[: block_bytes + 1].ljust(block_bytes + 1, b"\0"), "big")
    width = 8 * block_bytes
    found = []
    for phase in range(8):
        block = (number >> (8 - phase)) & ((1 << width) - 1)
        for is_inverted in (False, True):
            marker = (block >> (width - 8 * MARKER_BYTES)) ^ (0xFFFFFFFF if is_inverted else 0)
            found.append(((marker ^ MARKER).bit_count(), phase, is_inverted, block))
    wrong_bits, phase, is_inverted, block = min(found)
    content = (block ^ ((1 << width) - 1) if is_inverted else block).to_bytes(block_bytes, "big")[MARKER_BYTES:]
    content = randomized(content) if is_randomized else content
    if code is None:
        return Cadu(phase, is_inverted, wrong_bits, [], content)
    single = ReedSolomon(code.parity_bytes, 1, code.basis)
    words = [single.decode(content[first :: code.interleave]) for first in range(code.interleave)]
    corrected = [errors for _, errors in words]
    if None in corrected:
        return Cadu(phase, is_inverted, wrong_bits, corrected, None)
    frame = bytes(symbol for symbols in zip(*(symbols for symbols, _ in words), strict=True) for symbol in symbols)
    return Cadu(phase, is_inverted, wrong_bits, corrected, frame)
