from typing import Any

class FrameCutter:
    cutting: int
    frame_bytes: int
    block_bytes: int
    def set_coding(
        self, cutting: str, frame_bytes: int, code: Any, is_randomized: bool, marker_errors_max: int, flywheel_frames: int,
        truncated_bytes: int = 0,
    ) -> None: ...
