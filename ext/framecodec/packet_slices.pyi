from typing import Any, Self, final

__all__: list[str]

@final
class PacketSlices:
    def __new__(
        cls, definition: Any, entity: str, emit: Any, parameters: Any, clock_limit_ns: int | None, idle: bool,
        join_segments: bool, raw: bool, time_code: Any,
    ) -> Self: ...
