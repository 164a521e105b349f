from collections.abc import Mapping
from typing import Self

from typing_extensions import disjoint_base

from framecodec.rack import RackDecoder

__all__ = ["NetflowDecoder"]

@disjoint_base
class NetflowDecoder(RackDecoder):
    def __new__(
        cls, *, derive: bool = True, udp: bool = True, enterprise: Mapping[tuple[int, int], str] = ...
    ) -> Self: ...
