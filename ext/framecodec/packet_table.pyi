from typing import Self, final

from framecodec.columns import Names
from framecodec.trees import TreeBatch

ALWAYS: tuple[int, ...]
FIELDS: tuple[tuple[str, str, int, bool], ...]

@final
class PacketTable:
    length: int
    def __new__(cls, sources: Names, payload: bool = False) -> Self: ...
    def __len__(self) -> int: ...
    def export(self) -> TreeBatch: ...
