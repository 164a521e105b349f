from typing import Any

from framecodec.channel_modes import ChannelModes
from framecodec.columns import Names

__all__ = ["Reassembler"]

class Reassembler(ChannelModes):
    def state(self, sources: Names) -> list[dict[str, Any]]: ...
    def set_state(self, streams: list[dict[str, Any]], sources: Names) -> None: ...
    def accounts(self) -> list[dict[str, Any]]: ...
