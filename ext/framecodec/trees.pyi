from collections.abc import Iterable
from typing import Self, final

@final
class Tree:
    cell_count: int
    domain_count: int
    def __new__(
        cls,
        columns: Iterable[object],
        scalars: Iterable[tuple[int, int, bool]],
        domains: Iterable[int],
        formats: Iterable[tuple[str, str, list[str] | None]],
        fixed: Iterable[int] = (),
        total: Iterable[int] = (),
    ) -> Self: ...
    def __len__(self) -> int: ...
    def export(self) -> TreeBatch: ...

@final
class TreeBatch:
    length: int
    def __len__(self) -> int: ...
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]: ...
