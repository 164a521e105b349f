"""Where decoded rows go: JSON lines, CSV, a table, Arrow, Parquet, or the raw bytes.

    output = open_output("jsonl", out=None, kinds=("flow", "reject"), stream=sys.stdout.buffer)
    output.write(lines)          # streams.offline.Lines, as often as there are some
    output.close()               # Arrow and Parquet files appear under their name only now

Lines without rows still make a header or a schema. Raises UsageError for what a format cannot
hold, InputError where OUT cannot be made.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from streams.errors import InputError, UsageError
from streams.rows import json_array, json_lines, text_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.offline import Lines

__all__ = ["FORMATS", "FileOutput", "JsonOutput", "Output", "check_output", "open_output"]

FORMATS = ("table", "jsonl", "csv", "arrow", "parquet", "raw")

# Rows that are formatted at once: column-wise text work pays from some hundred rows, and a row of text may have 1 kB.
CHUNK_ROWS = 8192

# Packets that no container of the definition matched, in a folder of one file a container.
NO_CONTAINER = "no_container"


class Output(Protocol):
    def write(self, lines: Lines) -> None: ...
    def close(self) -> None: ...


class JsonOutput:
    """One JSON object a line. `with_values`: packets have `raw` and `values`."""

    def __init__(self, stream: BinaryIO, with_values: bool) -> None:
        self.stream, self.with_values = stream, with_values

    def write(self, lines: Lines) -> None:
        extra = values_json(lines) if self.with_values and lines.kind == "packet" else {}
        for start in range(0, lines.batch.num_rows, CHUNK_ROWS):
            part = {name: texts.slice(start, CHUNK_ROWS) for name, texts in extra.items()}
            write_texts(self.stream, json_lines(lines.kind, lines.batch.slice(start, CHUNK_ROWS), part))

    def write_object(self, line: dict[str, Any]) -> None:
        self.stream.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        self.stream.flush()


class CsvOutput:
    """RFC 4180 with a header; an absent value is an empty field."""

    def __init__(self, stream: BinaryIO, with_values: bool) -> None:
        self.stream, self.with_values = stream, with_values
        self.has_header = False

    def write(self, lines: Lines) -> None:
        for columns in chunks(lines, self.with_values):
            if not self.has_header:
                self.stream.write(",".join(columns).encode() + b"\r\n")
                self.has_header = True
            fields = [part for texts in columns.values() for part in (csv_fields(texts), pa.scalar(","))]
            write_texts(self.stream, pc.binary_join_element_wise(*fields[:-1], ""), b"\r\n")

    def close(self) -> None:
        self.stream.flush()


def csv_fields(texts: pa.Array) -> pa.Array:
    """Quoted where RFC 4180 wants it."""
    special = pc.match_substring_regex(texts, r'[",\r\n]')
    if pc.any(special).as_py():
        doubled = pc.replace_substring(texts, '"', '""')
        texts = pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), texts)
    return pc.fill_null(texts, "")


class TableOutput:
    """One line a row under a header. With a `width` (a terminal's) lines are cut and columns without any value left out."""

    def __init__(self, stream: BinaryIO, with_values: bool, width: int | None) -> None:
        self.stream, self.with_values, self.width = stream, with_values, width
        self.kind = ""
        self.widths: dict[str, int] = {}

    def write(self, lines: Lines) -> None:
        for columns in chunks(lines, self.with_values):
            if lines.kind != self.kind:
                self.begin(lines.kind, columns)
            cells: list[pa.Array | pa.Scalar] = []
            for name, width in self.widths.items():
                cells += [pc.utf8_rpad(pc.fill_null(columns[name], "-"), width), pa.scalar("  ")]
            texts = pc.utf8_rtrim_whitespace(pc.binary_join_element_wise(*cells, ""))
            # A line stays a line, and a terminal as it was, whatever text a device sent.
            texts = pc.replace_substring_regex(texts, r"\p{Cc}", " ")
            write_texts(self.stream, pc.utf8_slice_codeunits(texts, 0, self.width) if self.width else texts)

    def begin(self, kind: str, columns: dict[str, pa.Array]) -> None:
        shown = {name: texts for name, texts in columns.items() if not self.width or texts.null_count < len(texts)}
        self.widths = {
            name: max(len(name), pc.max(pc.utf8_length(texts)).as_py() or 1) for name, texts in shown.items()
        }
        header = "  ".join(name.ljust(width) for name, width in self.widths.items()).rstrip()
        self.stream.write((b"\n" if self.kind else b"") + header[: self.width].encode() + b"\n")
        self.kind = kind

    def close(self) -> None:
        self.stream.flush()


class RawOutput:
    """The bytes of packets or frames, back to back."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def write(self, lines: Lines) -> None:
        self.stream.write(lines.payload)

    def close(self) -> None:
        self.stream.flush()


class ArrowOutput:
    """An Arrow IPC stream on a pipe; rows of one type, and of packets one container."""

    def __init__(self, stream: BinaryIO, with_values: bool) -> None:
        self.stream, self.with_values = stream, with_values
        self.writer: Any = None
        self.container: str | None = None

    def write(self, lines: Lines) -> None:
        if not lines.batch.num_rows and len(lines.details) > 1:      # nothing, which several schemas could describe
            lines = replace(lines, details=[])
        for container, batch in containers(lines, self.with_values):
            if self.writer is None:
                self.writer, self.container = pa.ipc.new_stream(self.stream, batch.schema), container
            if container != self.container:
                several = f"{self.container} and {container}"
                raise UsageError(f"packets of several containers ({several}) do not fit one Arrow stream: -o FOLDER")
            self.writer.write_batch(batch)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.stream.flush()


class FileOutput:
    """Arrow or Parquet files: OUT is a file, or a folder of one file a container where packets have several.

    Until `close` they are in a hidden folder beside OUT.
    """

    def __init__(self, out: Path, file_format: str, with_values: bool) -> None:
        self.out, self.format, self.with_values = out, file_format, with_values
        self.folder = out.with_name(f".{out.name}.{os.getpid()}.partial")
        self.writers: dict[str, Any] = {}

    def write(self, lines: Lines) -> None:
        for container, batch in containers(lines, self.with_values):
            if container not in self.writers:
                self.make_folder()
                self.writers[container] = self.open(self.path(container), batch.schema)
            self.writers[container].write_batch(batch)

    def make_folder(self) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.out}: cannot be written: {error.strerror}") from error

    def path(self, container: str) -> Path:
        return self.folder / f"{container.replace('/', '_')}.{self.format}"

    def open(self, path: Path, schema: pa.Schema) -> Any:
        if self.format == "arrow":
            return pa.ipc.new_file(str(path), schema)
        import pyarrow.parquet as pq

        return pq.ParquetWriter(path, schema, compression="zstd")

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()
        if len(self.writers) == 1:
            self.path(next(iter(self.writers))).replace(self.out)
            self.folder.rmdir()
        elif self.writers:
            self.folder.replace(self.out)

    def discard(self) -> None:
        """What was not closed is not kept; nothing happens after `close`."""
        shutil.rmtree(self.folder, ignore_errors=True)


def containers(lines: Lines, with_values: bool) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows by container, `raw` and `values` as struct columns; dictionaries, which files cannot change, become text."""
    if not (with_values and lines.kind == "packet" and (lines.batch.num_rows or lines.details)):
        yield lines.kind, without_dictionaries(lines.batch)
        return
    unmatched = pa.array([True] * lines.batch.num_rows, pa.bool_())
    for details in lines.details:
        rows = lines.batch.take(details.rows)
        whole = rows.append_column("raw", details.raw).append_column("values", details.values)
        yield details.container, without_dictionaries(whole)
        unmatched = pc.and_not(unmatched, pc.is_in(pa.array(range(len(unmatched)), pa.int64()), details.rows))
    if pc.any(unmatched).as_py():
        yield NO_CONTAINER, without_dictionaries(lines.batch.filter(unmatched))


def without_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    fields = [field.with_type(plain_type(field.type)) for field in batch.schema]
    columns = [plain(batch.column(index), each.type) for index, each in enumerate(fields)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, metadata=batch.schema.metadata))


def plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(plain_type(each.type)) for each in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(plain_type(kind.value_type)))
    return kind


def plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)


def values_json(lines: Lines) -> dict[str, pa.Array]:
    """`raw` and `values` of every packet as JSON, null where no container matched."""
    nothing = pa.nulls(lines.batch.num_rows, pa.utf8())
    if not lines.details:
        return {"raw": nothing, "values": nothing}
    packets = pa.concat_arrays([each.rows for each in lines.details])
    places = pc.index_in(pa.array(range(lines.batch.num_rows), packets.type), packets)
    raw = pa.concat_arrays([json_array(each.raw) for each in lines.details])
    values = pa.concat_arrays([json_array(each.values, each.raw) for each in lines.details])
    return {"raw": raw.take(places), "values": values.take(places)}


def chunks(lines: Lines, with_values: bool) -> Iterator[dict[str, pa.Array]]:
    """Columns of text, some rows at a time."""
    extra = values_json(lines) if with_values and lines.kind == "packet" else {}
    for start in range(0, max(lines.batch.num_rows, 1), CHUNK_ROWS):
        columns = text_columns(lines.batch.slice(start, CHUNK_ROWS))
        yield columns | {name: texts.slice(start, CHUNK_ROWS) for name, texts in extra.items()}


def write_texts(stream: BinaryIO, texts: pa.Array, end: bytes = b"\n") -> None:
    if len(texts):
        whole = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts), end.decode())
        stream.write(memoryview(whole[0].as_buffer()))
        stream.write(end)


def check_output(file_format: str, out: Path | None, kinds: tuple[str, ...]) -> None:
    """UsageError where the format cannot hold that. Before OUT is opened, which empties it."""
    if file_format in ("csv", "arrow", "parquet", "raw") and len(kinds) != 1:
        raise UsageError(f"--format {file_format} holds rows of one type; say which with --emit, one of {', '.join(kinds)}")
    if file_format == "parquet" and out is None:
        raise UsageError("--format parquet needs a file: -o OUT")
    if file_format == "raw" and (out is None or kinds[0] not in ("packet", "frame")):
        raise UsageError("--format raw writes packets to a file, or frames: --emit packet -o OUT")
    if out is not None and file_format in ("arrow", "parquet") and out.is_dir():
        raise UsageError(f"{out} is a folder that is there already; -o names a new one, or a file")


def open_output(
    file_format: str, *, out: Path | None, kinds: tuple[str, ...], stream: BinaryIO, width: int | None, with_values: bool
) -> Output:
    """`stream` is where rows go without `out`; `width` is its terminal's, None where it is none."""
    if out is not None and file_format in ("arrow", "parquet"):
        return FileOutput(out, file_format, with_values)
    if file_format == "jsonl":
        return JsonOutput(stream, with_values)
    if file_format == "csv":
        return CsvOutput(stream, with_values)
    if file_format == "arrow":
        return ArrowOutput(stream, with_values)
    if file_format == "raw":
        return RawOutput(stream)
    return TableOutput(stream, with_values, width)
