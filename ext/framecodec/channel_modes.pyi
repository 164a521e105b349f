from typing import Self

from framecodec.columns import Names

__all__ = ["PACKET_FIELDS", "ChannelModes"]

PACKET_FIELDS: tuple[tuple[str, str, bool], ...]

class ChannelModes:
    def __new__(cls, sources: Names, modes: dict[int, str] | None = None) -> Self: ...
    def open_rows(self, sources: Names) -> None: ...
    def forget(self) -> None: ...
