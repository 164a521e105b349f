from collections.abc import Mapping
from typing import Self

from typing_extensions import disjoint_base

__all__ = ["Domains"]

@disjoint_base
class Domains:
    def __new__(cls, enterprise: Mapping[tuple[int, int], str] = ...) -> Self: ...
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
