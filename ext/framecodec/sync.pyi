from collections.abc import Iterable
from typing import Any, Self, final

@final
class Sync:
    record_header: int
    uses_frames: bool
    is_locked: bool
    position: int
    version: int
    def __new__(cls, apids: Iterable[int] = (), record_header: int = 0, uses_frames: bool = False) -> Self: ...
    def state(self) -> dict[str, Any]: ...
    def set_state(self, state: dict[str, Any]) -> None: ...
