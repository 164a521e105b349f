from typing import Any

class StreamOwner:
    def state(self) -> dict[str, Any]: ...
    def set_state(self, state: dict[str, Any]) -> None: ...

class FrameCutter:
    cutting: int
    frame_bytes: int
    block_bytes: int
    def set_coding(
        self, cutting: str, frame_bytes: int, code: Any, is_randomized: bool, marker_errors_max: int, flywheel_frames: int,
        truncated_bytes: int = 0,
    ) -> None: ...
