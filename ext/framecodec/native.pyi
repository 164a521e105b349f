from collections.abc import Sequence
from typing import Protocol

FIXED: dict[str, tuple[str, int]]

class _ArrowArrayExportable(Protocol):
    def __arrow_c_array__(self, requested_schema: object = ...) -> tuple[object, object]: ...

class BlockEncoder:
    def __init__(self, columns: Sequence[tuple[str, str]], identity: tuple[str, str, str] | None = None) -> None: ...
    def encode(
        self, batch: _ArrowArrayExportable, partition: int = 0, offset: int = 0, first_position: int = 0
    ) -> bytes: ...

def parse_leaf(type_name: str) -> tuple[int, int, tuple[str, ...]]: ...
