from collections.abc import Mapping
from typing import Self

from typing_extensions import disjoint_base

from framecodec.columns import Names

__all__ = ["Elements"]

@disjoint_base
class Elements:
    def __new__(
        cls, metrics: Names, units: Names, enterprise: Mapping[tuple[int, int], tuple[str, str, str | None]] = ...,
        keeps_unknown: bool = ...,
    ) -> Self: ...
