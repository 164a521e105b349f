from collections.abc import Iterator
from typing import Self

from framecodec.columns import Names
from framecodec.plan import Plan

KINDS: tuple[str, ...]
RAW_KINDS: dict[str, int]

def leaves(column: object, lists: tuple[int, ...] = ()) -> Iterator[tuple[int, tuple[int, ...]]]: ...

class Melter:
    metrics: Names
    units: Names
    kinds: Names
    texts: Names
    def __new__(cls, plan: Plan, raw: bool = False) -> Self: ...
    def texts_are_many(self) -> bool: ...
