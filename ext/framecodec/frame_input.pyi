from typing import Self

import pyarrow as pa

__all__ = ["FrameInput"]

FORMATS: dict[int, bytes]

class FrameInput:
    length: int
    def __new__(cls, frames: pa.RecordBatch) -> Self: ...
