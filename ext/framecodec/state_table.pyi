from typing import Self

from typing_extensions import disjoint_base

__all__: list[str]

@disjoint_base
class Table:
    def __new__(cls, limit: int = ...) -> Self: ...
    @property
    def limit(self) -> int: ...
    @property
    def forgotten(self) -> int: ...
