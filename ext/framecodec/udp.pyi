from typing import Self, final

from framecodec.columns import Batch

FRAMES_FIELDS: tuple[tuple[str, str, bool], ...]
REJECTS_FIELDS: tuple[tuple[str, str, bool], ...]
REASONS: tuple[str, ...]

@final
class UdpReader:
    datagrams: int
    passed: int
    def __new__(cls, link: str, codec: str, *, port: int = 0) -> Self: ...
    def take(self) -> tuple[Batch, Batch]: ...
