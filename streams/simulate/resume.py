"""Where a made-up fleet ended, in a file, so that the next run goes on with the next sequence numbers.

    kept = read_kept(file)                       # None: there was no run before
    fleet = Fleet(kept.size, kept.seed, now_ns - kept.steps * STEP_NS, steps=kept.steps)
    keep(file, fleet)
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from streams.errors import UsageError
from streams.simulate import Fleet, Size

__all__ = ["NEW_FLEET", "Kept", "keep", "read_kept"]

NEW_FLEET = "remove the file, and a new fleet begins, its sequence numbers at 1"


@dataclass(frozen=True)
class Kept:
    """A fleet, and how many steps it has made."""

    size: Size
    seed: int
    steps: int


def read_kept(file: Path) -> Kept | None:
    """The fleet of an earlier run, None if there was none. UsageError for a file that tells of no fleet."""
    try:
        match json.loads(file.read_text()):
            case {"seed": int(seed), "size": dict(size), "steps": int(steps)}:
                return Kept(Size(**size), seed, steps)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"--resume {file}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError):                         # no JSON, or sizes of another program
        pass
    raise UsageError(f"--resume {file}: tells of no fleet\n  hint: {NEW_FLEET}")


def keep(file: Path, fleet: Fleet) -> None:
    """Called before what it counts is sent: a fleet that is killed in between loses frames, but sends none twice."""
    new = file.with_name(f"{file.name}.new")
    try:
        new.write_text(json.dumps({"seed": fleet.seed, "size": asdict(fleet.size), "steps": fleet.steps}) + "\n")
        new.replace(file)
    except OSError as error:
        raise UsageError(f"--resume {file}: cannot be written: {error.strerror}") from error
