"""`orbitrack inspect` for cadu, tm, aos and uslp: one transfer frame of a file, and the CADU around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streams.cli.passed import Passed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.captures import Capture
    from streams.config import Link

__all__ = ["show_frame"]


def show_frame(link: Link, file: Path, port: int, index: int, offset: int | None) -> Iterator[str]:
    """The frame number `index`, or the frame or the rejected input that holds the byte at `offset`."""
    from streams.captures import open_capture
    from streams.inspect import hex_lines, text_lines
    from streams.inspect_frames import inspect_frame

    with open_capture(file, link=link.name, codec=link.codec, port=port, is_read_twice=True) as capture:
        passed = Passed()
        found = find_frame(link, capture, index, offset, passed)
        if found is None:
            raise passed.nothing(file, "frame", index, offset)
        is_cadu = link.codec == "cadu" and not capture.is_capture
        size = found["size_bytes"]
        data = b"" if capture.is_capture else capture.read_again(found["offset"], size + 1)
    place = f"at byte {found['offset']} of {file}, {size} bytes"
    frame = found.get("frame")
    if frame is None:
        reason = found["detail"].partition("; received: ")[0]              # the octets follow, bit by bit
        yield f"input {place}, rejected: {found['reason']} ({reason})"
        frame = data[:size] if found["reason"] == "frame_version" and link.codec != "cadu" else None
    else:
        yield f"{'CADU' if link.codec == 'cadu' else 'frame'} {place}"
    # Garbage has no marker to speak of.
    if is_cadu and found.get("reason") != "garbage" and size >= block_bytes(link):
        lines, decoded = cadu_lines(link, data)
        yield from lines
        frame = frame or (decoded if found["reason"] == "frame_version" else None)
    if frame is None:
        yield from hex_lines(data[:size], [])
    else:
        yield from text_lines(inspect_frame(frame, link.codec, frame_layout(link, found)))


def find_frame(
    link: Link, capture: Capture, index: int, offset: int | None, passed: Passed
) -> dict[str, Any] | None:
    """A row of `frames` with `size_bytes` and `fecf_bytes`, or of rejects; a frame comes first."""
    from streams.decode import frame_decoder

    boundaries = "stream" if not capture.is_capture else "frames" if link.codec == "cadu" else "datagrams"
    decoder = frame_decoder(link, boundaries=boundaries, emit=("frames", "payload"))
    fecf_bytes = 2
    rejected: dict[str, Any] | None = None
    for out in outputs(decoder, capture):
        for row in (row for batch in out.frames for row in batch.to_pylist()):
            row["size_bytes"] = decoder.block_bytes or len(row["frame"])
            fecf_bytes = fecf_bytes_of(row, fecf_bytes)
            if index == passed.count if offset is None else holds(row, offset):
                return {**row, "fecf_bytes": fecf_bytes if row["fecf"] != "absent" else 0}
            passed.count += 1
        rejects = [row for batch in out.rejects for row in batch.to_pylist()]
        passed.rejects(rejects)
        for row in rejects:
            if offset is not None and holds(row, offset):
                rejected = {**row, "fecf_bytes": fecf_bytes if link.fecf else 0}
    return rejected


def outputs(decoder: Any, capture: Capture) -> Iterator[Any]:
    for piece in capture:
        yield decoder.decode_bytes(piece.data) if piece.frames is None else decoder.decode(piece.frames)
    yield decoder.finish()


def holds(row: dict[str, Any], offset: int) -> bool:
    start: int = row["offset"]
    return start <= offset < start + int(row["size_bytes"])


def fecf_bytes_of(row: dict[str, Any], before: int) -> int:
    """Two or four: a right frame tells, a wrong one is taken to be as those before it."""
    from framecodec.coding import crc32_of

    return before if row["fecf"] != "ok" else 4 if crc32_of(row["frame"]) == 0 else 2


def frame_layout(link: Link, found: dict[str, Any]) -> Any:
    from streams.inspect_frames import FrameLayout

    # Frames that are told by their version have an OCF where the link says so, as the decoder reads them.
    ocf = False if link.ocf is None and link.codec == "aos" else link.ocf
    return FrameLayout(found["fecf_bytes"], ocf, link.insert_zone, link.header_check)


def block_bytes(link: Link) -> int:
    from streams.decode import frame_decoder

    return int(frame_decoder(link, boundaries="stream", emit=()).block_bytes)


def cadu_lines(link: Link, data: bytes) -> tuple[list[str], bytes | None]:
    """What is to say of the marker and the code, and the frame if it can be had."""
    from framecodec.coding import ReedSolomon
    from streams.inspect_frames import inspect_cadu

    rs = link.rs or "255,223"
    code = None if rs == "none" else ReedSolomon(32 if rs == "255,223" else 16, link.interleave, link.rs_basis)
    cadu = inspect_cadu(data, block_bytes(link), code=code, is_randomized=link.randomized is not False)
    marker = f"attached sync marker: {cadu.wrong_bits} bits wrong, from bit {cadu.phase}{', inverted' * cadu.is_inverted}"
    lines = [f"{'>>' if cadu.wrong_bits else '  '} {marker}"]
    if cadu.corrected:
        counts = " ".join("-" if errors is None else str(errors) for errors in cadu.corrected)
        problem = "   << - has more wrong symbols than can be corrected" if None in cadu.corrected else ""
        lines.append(f"{'>>' if problem else '  '} symbols corrected in codewords: {counts}{problem}")
    return lines, cadu.frame
