from typing import Self

from typing_extensions import disjoint_base

from framecodec.rack import RackDecoder

__all__ = ["SflowDecoder"]

@disjoint_base
class SflowDecoder(RackDecoder):
    def __new__(cls, *, derive: bool = True) -> Self: ...
