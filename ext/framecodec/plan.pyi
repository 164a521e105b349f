from collections.abc import Iterable

from framecodec.trees import Tree, TreeBatch
from streams.definitions.model import Definition

COMPARISONS: tuple[str, ...]
MATH: tuple[str, ...]
OPERATIONS: dict[str, int]

def wanted_paths(definition: Definition, parameters: Iterable[str] | None) -> set[str] | None: ...

class Plan:
    definition: Definition
    trees: list[Tree]
    container_count: int
    def __init__(self, definition: Definition, parameters: Iterable[str] | None = None) -> None: ...
    def decode(self, records: list[bytes]) -> list[tuple[int, TreeBatch]]: ...
    def take(self) -> list[tuple[int, TreeBatch]]: ...
