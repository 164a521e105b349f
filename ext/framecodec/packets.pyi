from collections.abc import Iterable
from typing import Any, Self, final

import pyarrow as pa
from typing_extensions import Buffer

from streams.definitions.model import Definition
from streams.timecodes import TimeCode

EMITTED: tuple[str, ...]
EMITTED_BY_DEFAULT: tuple[str, ...]

class Decoded:
    samples: list[pa.RecordBatch]
    derived: list[pa.RecordBatch]
    flows: list[pa.RecordBatch]
    rejects: list[pa.RecordBatch]
    packets: list[pa.RecordBatch]
    containers: list[tuple[int, pa.RecordBatch]]
    def __init__(self) -> None: ...

@final
class SpacePacketDecoder:
    definition: Definition | None
    counts: dict[str, Any]
    def __new__(
        cls,
        definition: Definition | None = None,
        *,
        spacecraft: str = "",
        link: str = "",
        boundaries: str = "frames",
        emit: Iterable[str] = ...,
        parameters: Iterable[str] | None = None,
        clock_limit_ns: int | None = ...,
        idle: bool = True,
        record_header_bytes: int = 0,
        join_segments: bool = False,
        raw: bool = False,
        time_code: TimeCode | None = None,
    ) -> Self: ...
    def decode(self, frames: pa.RecordBatch) -> Decoded: ...
    def decode_bytes(self, data: Buffer, received_ns: int | None = None, source: str = "") -> Decoded: ...
    def decode_packets(self, packets: pa.RecordBatch) -> Decoded: ...
    def finish(self) -> Decoded: ...
    def reset_counts(self) -> None: ...
    def snapshot(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...
