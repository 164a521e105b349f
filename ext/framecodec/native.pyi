from collections.abc import Sequence
from typing import Protocol

from framecodec.order import RowOrder

FIXED: dict[str, tuple[str, int]]

class _ArrowArrayExportable(Protocol):
    def __arrow_c_array__(self, requested_schema: object = ...) -> tuple[object, object]: ...

class BlockEncoder:
    def __init__(
        self, columns: Sequence[tuple[str, str]], identity: tuple[str, str, str] | None = None, order: RowOrder | None = None
    ) -> None: ...
    def encode(self, batch: _ArrowArrayExportable, runs: Sequence[tuple[int, int, int, int]] = ...) -> bytes: ...

def parse_leaf(type_name: str) -> tuple[int, int, tuple[str, ...]]: ...
