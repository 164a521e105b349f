from typing import Self

from framecodec.columns import Names

__all__ = ["FECF_NAMES", "FRAME_FIELDS", "METRICS", "REASONS", "FrameRows"]

FECF_NAMES: tuple[str, ...]
FRAME_FIELDS: tuple[tuple[str, str, bool], ...]
METRICS: tuple[tuple[str, str | None], ...]
REASONS: tuple[str, ...]

class FrameRows:
    sources: Names
    def __new__(cls, spacecraft: str, payload: bool) -> Self: ...
    def open(self) -> None: ...
    def counts(self) -> dict[str, int]: ...
    def reset_counts(self) -> None: ...
