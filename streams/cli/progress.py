"""How far a long command is: a bar on a terminal, a JSON line a second with --log-format json, else nothing.

    with show_progress("replay", total_bytes) as progress:
        progress.advance(bytes_read, frames)
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from streams.cli import current_session

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Progress", "show_progress"]

LINE_INTERVAL_S = 1.0


class Progress:
    """Counts, and shows nothing."""

    def __init__(self, what: str, total_bytes: int | None) -> None:
        self.what, self.total_bytes = what, total_bytes
        self.bytes = self.frames = 0
        self.started_s = time.monotonic()

    def advance(self, size_bytes: int, frames: int = 0) -> None:
        self.bytes += size_bytes
        self.frames += frames
        self.show()

    def show(self) -> None: ...

    def finish(self) -> None: ...

    @property
    def rates(self) -> dict[str, float]:
        seconds = max(time.monotonic() - self.started_s, 1e-9)
        frames_per_s, bytes_per_s = round(self.frames / seconds), round(self.bytes / seconds)
        return {"seconds": round(seconds, 3), "frames_per_s": frames_per_s, "bytes_per_s": bytes_per_s}


class JsonProgress(Progress):
    shown_s = 0.0

    def show(self) -> None:
        if time.monotonic() - self.shown_s >= LINE_INTERVAL_S:
            self.finish()

    def finish(self) -> None:
        self.shown_s = time.monotonic()
        line = {"progress": self.what, "bytes": self.bytes, "total_bytes": self.total_bytes, "frames": self.frames}
        print(json.dumps(line | self.rates), file=sys.stderr, flush=True)


class BarProgress(Progress):
    def __init__(self, what: str, total_bytes: int | None) -> None:
        super().__init__(what, total_bytes)
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        self.bar = Bar(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            TextColumn("{task.fields[frames]:,} frames, {task.fields[rate]:,}/s"), TimeRemainingColumn(),
            console=Console(stderr=True), refresh_per_second=4,
        )
        self.task: Any = self.bar.add_task(what, total=total_bytes, frames=0, rate=0)
        self.bar.start()

    def show(self) -> None:
        self.bar.update(self.task, completed=self.bytes, frames=self.frames, rate=round(self.rates["frames_per_s"]))

    def finish(self) -> None:
        self.bar.stop()


@contextmanager
def show_progress(what: str, total_bytes: int | None, *, quiet: bool = False) -> Iterator[Progress]:
    kind = Progress
    if not quiet and current_session().log_format == "json":
        kind = JsonProgress
    elif not quiet and sys.stderr.isatty():
        kind = BarProgress
    progress = kind(what, total_bytes)
    try:
        yield progress
    finally:
        progress.finish()
