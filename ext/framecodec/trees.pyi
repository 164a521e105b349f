from collections.abc import Iterable

class Tree:
    cell_count: int
    domain_count: int
    def __init__(
        self,
        columns: Iterable[object],
        scalars: Iterable[tuple[int, int, bool]],
        domains: Iterable[int],
        formats: Iterable[tuple[str, str, list[str] | None]],
    ) -> None: ...
    def __len__(self) -> int: ...
    def export(self) -> TreeBatch: ...

class TreeBatch:
    length: int
    def __len__(self) -> int: ...
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]: ...
