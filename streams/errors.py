"""Every exception that orbitrack raises on purpose.

    OrbitrackError
    ├── UsageError              the command line asks for something that cannot be      exit status 2
    ├── ConfigError             a setting is wrong: file, line, what was found, hint    exit status 2
    │   └── DefinitionError     an XTCE, SLO or rule file is wrong: the same, and a path inside the file
    ├── InputError              a file that was to be read cannot be                    exit status 1
    └── DependencyError         Kafka, the database or a receiver is away               exit status 3

What a *sender* gets wrong is never an exception: it is a row of REJECTS with a reason. What *we* get wrong is an
assert; see docs/architecture.md for what a worker does then.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ConfigError", "DefinitionError", "DependencyError", "InputError", "OrbitrackError", "UsageError", "nearest"]


class OrbitrackError(Exception):
    """Base of all deliberate errors; `exit_status` is what the command line ends with."""

    exit_status = 1


class UsageError(OrbitrackError):
    exit_status = 2


class InputError(OrbitrackError):
    exit_status = 1


class ConfigError(OrbitrackError):
    """A setting that cannot be used.

    Printed in at most three lines: `FILE:LINE: what`, the place inside the file, a hint.
    """

    exit_status = 2

    def __init__(
        self, what: str, *, file: object = None, line: int | None = None, path: str | None = None, hint: str | None = None
    ) -> None:
        self.what, self.file, self.line, self.path, self.hint = what, file, line, path, hint
        super().__init__(what)

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        lines = [f"{place}: {self.what}" if place else self.what]
        if self.path:
            lines.append(f"  at {self.path}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class DefinitionError(ConfigError):
    """An XTCE, SLO or rule file that cannot be used; `path` is the XPath or key path of the element."""


class DependencyError(OrbitrackError):
    """Something outside that we need is away. `retryable` says whether waiting can help."""

    exit_status = 3

    def __init__(self, what: str, *, retryable: bool = True, hint: str | None = None) -> None:
        self.retryable, self.hint = retryable, hint
        super().__init__(f"{what}\n  hint: {hint}" if hint else what)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be, for hints."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
