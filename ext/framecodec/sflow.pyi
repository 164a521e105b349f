from typing import Self, final

from framecodec.rack import RackDecoder

__all__ = ["SflowDecoder"]

@final
class SflowDecoder(RackDecoder):
    def __new__(cls, *, derive: bool = True) -> Self: ...
