from collections.abc import Iterable
from typing import Self, final

from framecodec.arrow_out import Batch
from framecodec.tree_out import TreeLayout
from framecodec.trees import Tree
from streams.definitions.model import Definition

@final
class Plan:
    definition: Definition
    trees: list[Tree]
    outputs: list[TreeLayout]
    container_count: int
    def __new__(cls, definition: Definition, parameters: Iterable[str] | None = None) -> Self: ...
    def decode(self, records: list[bytes]) -> list[tuple[int, Batch]]: ...
    def take(self) -> list[tuple[int, Batch]]: ...
