from collections.abc import Mapping
from typing import Self, final

from framecodec.netflow_sets import NetflowSets

__all__ = ["NetflowDecoder"]

@final
class NetflowDecoder(NetflowSets):
    def __new__(
        cls, *, derive: bool = True, udp: bool = True,
        enterprise: Mapping[tuple[int, int], str | tuple[str, str, str | None]] = ..., keeps_unknown: bool = False,
    ) -> Self: ...
