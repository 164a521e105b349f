from typing import Self

from typing_extensions import disjoint_base

from framecodec.elements import Elements

__all__ = ["Domains"]

@disjoint_base
class Domains:
    def __new__(cls, elements: Elements) -> Self: ...
    @property
    def count(self) -> int: ...
    @property
    def template_bytes(self) -> int: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def forgotten(self) -> int: ...
    @property
    def withdrawals(self) -> int: ...
