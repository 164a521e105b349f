"""`orbitrack inspect`: one packet, frame or datagram of a file, bit by bit against its definition, what fails marked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli.frame_report import show_frame
from streams.cli.links import link_from_options, link_options
from streams.cli.passed import Passed
from streams.cli.tables import printable
from streams.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.offline import Lines

__all__ = ["command"]

@click.command()
@link_options
@click.option("--index", type=click.IntRange(0), metavar="N", help="The packet, frame or datagram number N, from 0; default 0.")
@click.option("--offset", type=click.IntRange(0), metavar="BYTE", help="The one that holds this byte of FILE (see rejects).")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
def command(index: int | None, offset: int | None, file: Path, port: int | None, **options: Any) -> None:
    """Show one packet, transfer frame or datagram of FILE: every field with its place, bits, raw value and value."""
    if index is not None and offset is not None:
        raise UsageError("--index and --offset: one of them names what to show")
    link = link_from_options(options)
    show = show_datagram if link.is_rack else show_packet if link.codec == "ccsds-packets" else show_frame
    for line in show(link, file, port or 0, index or 0, offset):
        click.echo(printable(line))


def show_packet(link: Any, file: Path, port: int, index: int, offset: int | None) -> Iterator[str]:
    from streams.captures import open_capture
    from streams.inspect import hex_lines, inspect_packet, text_lines
    from streams.offline import Offline

    decoding, passed = Offline(link, {"packet", "reject"}), Passed()
    with open_capture(file, link=link.name, codec=link.codec, port=port) as capture:
        found = find(decoding.decode(capture), "packet", index, offset, passed)
        if found is None:
            raise passed.nothing(file, "packet", index, offset)
        data = capture.read_again(found["offset"], found["size_bytes"])
    title = f"{found['kind']} at byte {found['offset']} of {file}, {found['size_bytes']} bytes"
    yield title + (f", rejected: {found['reason']} ({found['detail']})" if "reason" in found else "")
    if found.get("reason") in ("garbage", "truncated"):
        yield from hex_lines(data, [])
    else:
        yield from text_lines(inspect_packet(data, decoding.definition))


def find(rows: Iterator[Lines], kind: str, index: int, offset: int | None, passed: Passed) -> dict[str, Any] | None:
    """The packet with this number, or the packet or reject that holds the byte at `offset`; a packet comes first."""
    rejected: dict[str, Any] | None = None
    for lines in rows:
        if lines.kind == kind and offset is None:
            if index < passed.count + lines.batch.num_rows:
                return {"kind": kind, **lines.batch.slice(index - passed.count, 1).to_pylist()[0]}
            passed.count += lines.batch.num_rows
        elif offset is None:
            passed.rejects(lines.batch.to_pylist())
        else:
            for row in holding(lines, offset):
                if lines.kind == kind:
                    return {"kind": kind, **row}
                rejected = {"kind": "input", **row}
    return rejected


def holding(lines: Lines, offset: int) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    starts, sizes = lines.batch["offset"], lines.batch["size_bytes"].cast(pa.int64())
    inside = pc.and_(pc.less_equal(starts, offset), pc.less(offset, pc.add(starts, sizes)))
    rows: list[dict[str, Any]] = lines.batch.filter(inside).to_pylist()
    return rows


def show_datagram(link: Any, file: Path, port: int, index: int, offset: int | None) -> Iterator[str]:
    from streams.captures import open_capture
    from streams.inspect import hex_lines
    from streams.offline import one_frame, rack_decoder, rack_lines
    from streams.rows import json_lines

    decoder, passed = rack_decoder(link), Passed()
    with open_capture(file, link=link.name, codec=link.codec, port=port) as capture:
        for piece in capture:
            frames = piece.frames if piece.frames is not None else one_frame(piece.data, link)
            row = row_of(frames, index - passed.count, offset)
            # Templates that came before decide what this datagram means.
            decoder.decode(frames if row is None else frames.slice(0, row))
            passed.count += frames.num_rows
            if row is None:
                continue
            here = frames.slice(row, 1)
            start, data, sender = here["offset"][0].as_py(), here["frame"][0].as_py(), here["source"][0].as_py()
            lines = list(rack_lines(decoder.decode(here)))
            rejects = [row for each in lines if each.kind == "reject" for row in each.batch.to_pylist()]
            yield f"datagram at byte {start} of {file}, {len(data)} bytes from {sender or 'an unknown sender'}"
            yield from hex_lines(data, [(row["offset"] - start, row["size_bytes"]) for row in rejects])
            for each in lines:
                yield from json_lines(each.kind, each.batch).to_pylist()
            return
    raise passed.nothing(file, "datagram", index, offset)


def row_of(frames: Any, index: int, offset: int | None) -> int | None:
    """The row number `index`, or the one whose datagram holds the byte at `offset` of the file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if offset is None:
        return index if index < frames.num_rows else None
    ends = pc.add(frames["offset"], pc.binary_length(frames["frame"]).cast(pa.int64()))
    found: int = pc.index(pc.and_(pc.less_equal(frames["offset"], offset), pc.greater(ends, offset)), True).as_py()
    return found if found >= 0 else None
