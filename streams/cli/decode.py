"""`orbitrack decode`: what captures hold, line by line. Options, fields and formats are a contract."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from streams.cli.links import link_from_options, link_options, total_bytes
from streams.cli.progress import Progress, show_progress
from streams.errors import InputError, UsageError, nearest

if TYPE_CHECKING:
    from streams.offline import Lines, Offline
    from streams.outputs import Output

__all__ = ["command"]

FORMATS = ("table", "jsonl", "csv", "arrow", "parquet", "raw")
ONE_TYPE = ("csv", "arrow", "parquet", "raw")


def kinds_of(codec: str, emit: str | None, file_format: str, has_rejects_file: bool) -> tuple[str, ...]:
    """The line types to print, in the order of the contract."""
    from streams.offline import KINDS, MAIN_KIND

    known = KINDS[codec]
    if emit is None:
        if file_format in ONE_TYPE:
            return (MAIN_KIND.get(codec, "packet"),)
        hidden = {"reject"} if has_rejects_file else set()
        hidden |= set() if codec in MAIN_KIND else {"sample"}
        return tuple(kind for kind in known if kind not in hidden)
    wanted = [part.strip() for part in emit.split(",") if part.strip()]
    for kind in wanted:
        if kind not in known:
            match = nearest(kind, known)
            hint = f"did you mean '{match}'?" if match else f"{codec} has {', '.join(known)}"
            raise UsageError(f"--emit: no line type '{kind}'\n  hint: {hint}")
    if not wanted:
        raise UsageError(f"--emit: name at least one of {', '.join(known)}")
    return tuple(kind for kind in known if kind in wanted)


@click.command()
@link_options
@click.option("--emit", metavar="TYPES", help="Comma list of line types: flow, sample, frame, packet, reject.")
@click.option("--summary", is_flag=True, help="Totals as a last line of JSON.")
@click.option("--format", "file_format", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), metavar="OUT", help="Instead of standard output.")
@click.option("--rejects", "rejects_file", type=click.Path(path_type=Path), metavar="FILE", help="Rejects as JSON lines.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="FILE...")
def command(
    emit: str | None, summary: bool, file_format: str, out: Path | None, rejects_file: Path | None, files: tuple[Path, ...],
    port: int | None, **options: Any,
) -> None:
    """Print what FILEs hold: pcap, pcapng or raw bytes, told apart by their content; `-` is standard input."""
    from streams.offline import Offline
    from streams.outputs import FileOutput, check_output

    kinds = kinds_of(options["codec"], emit, file_format, rejects_file is not None)
    check_output(file_format, out, kinds)
    # Rejects are always decoded: they are counted even where they are not printed.
    decoding = Offline(link_from_options(options), {*kinds, "reject"}, payload=file_format == "raw")
    failed: InputError | None = None
    with ExitStack() as opened:
        stream = open_stream(opened, None if file_format in ("arrow", "parquet") else out)
        output = open_rows(file_format, out, kinds, stream, decoding.has_definition)
        if isinstance(output, FileOutput):
            opened.callback(output.discard)
        rejects = open_stream(opened, rejects_file) if rejects_file else None
        printer = Printer(output, kinds, rejects)
        quiet = out is None and sys.stdout.isatty()
        progress = opened.enter_context(show_progress("decode", total_bytes(files), quiet=quiet))
        for file in files:
            try:
                decode_file(decoding, file, port or 0, printer, progress)
            except InputError as error:
                # As cat does: say so, go on with the other files, and end with status 1.
                click.echo(str(error), err=True)
                failed = error
        if not printer.has_rows and file_format in ONE_TYPE:
            output.write(decoding.no_lines(kinds[0]))   # a header, a schema
        output.close()
        if summary:
            line = json.dumps(decoding.summary(), separators=(",", ":"))
            (sys.stderr.buffer if file_format in ONE_TYPE else stream).write(line.encode() + b"\n")
    if failed is not None:
        raise SystemExit(failed.exit_status)
    if not (summary or rejects_file or "reject" in kinds):
        tell_rejects(decoding)


class Printer:
    """Rows to the output, rejects also to their own file."""

    def __init__(self, output: Output, kinds: tuple[str, ...], rejects: BinaryIO | None) -> None:
        from streams.outputs import JsonOutput

        self.output, self.kinds = output, kinds
        self.rejects = JsonOutput(rejects, with_values=False) if rejects else None
        self.has_rows = False

    def write(self, lines: Lines) -> None:
        if lines.kind in self.kinds:
            self.has_rows = True
            self.output.write(lines)
        if lines.kind == "reject" and self.rejects is not None:
            self.rejects.write(lines)


def decode_file(decoding: Offline, file: Path, port: int, printer: Printer, progress: Progress) -> None:
    from streams.captures import open_capture

    link = decoding.link
    seen_bytes, seen_frames = 0, decoding.frames
    is_read_twice = decoding.payload and link.codec == "ccsds-packets"
    with open_capture(file, link=link.name, codec=link.codec, port=port, is_read_twice=is_read_twice) as capture:
        for lines in decoding.decode(capture):
            printer.write(lines)
            progress.advance(capture.input_bytes - seen_bytes, decoding.frames - seen_frames)
            seen_bytes, seen_frames = capture.input_bytes, decoding.frames


def open_stream(opened: ExitStack, path: Path | None) -> BinaryIO:
    if path is None or str(path) == "-":
        return click.get_binary_stream("stdout")
    try:
        return opened.enter_context(path.open("wb"))
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def open_rows(file_format: str, out: Path | None, kinds: tuple[str, ...], stream: BinaryIO, with_values: bool) -> Output:
    from streams.outputs import open_output

    if file_format == "arrow" and out is None and sys.stdout.isatty():
        raise UsageError("--format arrow is not for a terminal: -o OUT, or a pipe")
    width = shutil.get_terminal_size().columns if out is None and sys.stdout.isatty() else None
    return open_output(file_format, out=out, kinds=kinds, stream=stream, width=width, with_values=with_values)


def tell_rejects(decoding: Offline) -> None:
    """Nobody should miss that something was given up because of the format he chose."""
    if decoding.rejects:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(decoding.rejects.items()))
        total = decoding.rejects.total()
        click.echo(f"{total} reject{'s' if total > 1 else ''} ({reasons}); --rejects FILE tells more", err=True)
