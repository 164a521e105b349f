"""What `orbitrack inspect` passed by in search of a number or a byte: for the message when there is no such thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streams.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Passed"]


@dataclass
class Passed:
    count: int = 0                              # packets, frames or datagrams, which have numbers
    rejected: dict[str, Any] | None = None      # the last reject that is input of its own, which has none

    def rejects(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rejected = next((row for row in reversed(rows) if row["size_bytes"]), self.rejected)

    def nothing(self, file: Path, kind: str, index: int, offset: int | None) -> InputError:
        if offset is not None:
            return InputError(f"{file}: no {kind} holds byte {offset}")
        what = f"{file}: no {kind} number {index}: there are {self.count}, counted from 0"
        if self.rejected is None:
            return InputError(what)
        reason, start = self.rejected["reason"], self.rejected["offset"]
        return InputError(f"{what}\n  hint: rejected input has no number; the last of it ({reason}): --offset {start}")
