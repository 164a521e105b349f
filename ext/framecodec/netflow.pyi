from collections.abc import Mapping
from typing import Self, final

from framecodec.rack import RackDecoder

__all__ = ["NetflowDecoder"]

@final
class NetflowDecoder(RackDecoder):
    def __new__(
        cls, *, derive: bool = True, udp: bool = True, enterprise: Mapping[tuple[int, int], str] = ...
    ) -> Self: ...
