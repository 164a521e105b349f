from collections.abc import Iterable
from typing import Any, Self

import pyarrow as pa

__all__ = ["Batch", "Layout"]

class Layout:
    fields: list[tuple[str, str, bool]]
    def __new__(cls, fields: Iterable[tuple[Any, ...]]) -> Self: ...
    def check(self, schema: pa.Schema) -> None: ...

class Batch:
    length: int
    def __len__(self) -> int: ...
    def __arrow_c_array__(self, requested_schema: Any = None) -> tuple[Any, Any]: ...
    def take(self, schema: pa.Schema) -> pa.RecordBatch: ...
