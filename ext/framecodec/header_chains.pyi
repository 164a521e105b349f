from collections.abc import Iterable
from typing import Self

class HeaderChains:
    record_header: int
    uses_frames: bool
    version: int
    def __new__(cls, apids: Iterable[int] = (), record_header: int = 0, uses_frames: bool = False) -> Self: ...
