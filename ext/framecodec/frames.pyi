from collections.abc import Iterable, Mapping
from typing import Any, Self

import pyarrow as pa
from typing_extensions import Buffer

from framecodec.cadu import CaduCutter

__all__ = ["DecodedFrames", "FrameDecoder"]

CODES: dict[str, int]
EMITTED: tuple[str, ...]

class DecodedFrames:
    samples: list[pa.RecordBatch]
    derived: list[pa.RecordBatch]
    flows: list[pa.RecordBatch]
    rejects: list[pa.RecordBatch]
    frames: list[pa.RecordBatch]
    packets: list[pa.RecordBatch]
    def __init__(self) -> None: ...

class FrameDecoder(CaduCutter):
    counts: dict[str, Any]
    accounts: list[dict[str, Any]]
    def __new__(
        cls,
        kind: str,
        frame_length: int | None = None,
        *,
        fecf: bool | None = None,
        ocf: bool | None = None,
        insert_zone: int = 0,
        header_check: bool = False,
        vc_mode: Mapping[int, str] | None = None,
        uncounted: Iterable[int] = (),
        randomized: bool | None = None,
        rs: str | None = None,
        interleave: int = 1,
        rs_basis: str = "dual",
        spacecraft: str = "",
        link: str = "",
        boundaries: str = "frames",
        emit: Iterable[str] = ...,
        marker_errors: int = 3,
        flywheel: int = 2,
        truncated_length: int | None = None,
    ) -> Self: ...
    def decode(self, frames: pa.RecordBatch) -> DecodedFrames: ...
    def decode_bytes(self, data: Buffer, received_ns: int | None = None, source: str = "") -> DecodedFrames: ...
    def finish(self) -> DecodedFrames: ...
    def reset_counts(self) -> None: ...
    def snapshot(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...
