from collections.abc import Iterable
from typing import Any, Self, final

@final
class Tree:
    cell_count: int
    domain_count: int
    columns: list[Any]
    formats: list[tuple[str, str, list[str] | None]]
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
