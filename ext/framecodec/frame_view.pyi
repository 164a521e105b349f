from typing import Any, Self, final

__all__ = ["FrameView", "address_bytes"]

def address_bytes(text: str) -> bytes | None: ...

@final
class FrameView:
    rows: int
    def __new__(cls, senders: list[str], sender_ids: Any, ends: Any, data: Any) -> Self: ...
