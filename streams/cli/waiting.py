"""How long an answer has been awaited, and how far it is: a line on a terminal, nothing elsewhere.

    with waiting("asking the database", progress.look):
        first = next(pieces)
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["waiting"]

LOOK_S = 1.0


@contextmanager
def waiting(what: str, look: Callable[[], str] | None = None) -> Iterator[None]:
    """The line is wiped off when the block ends. `look` is asked every second, in a thread, what to add to it."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    is_over = threading.Event()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)

        def keep_looking(look: Callable[[], str]) -> None:
            while not is_over.wait(LOOK_S):
                if seen := look():
                    progress.update(task, description=f"{what}: {seen}")

        looker = threading.Thread(target=keep_looking, args=(look,), daemon=True) if look else None
        if looker:
            looker.start()
        try:
            yield
        finally:
            is_over.set()
            if looker:
                looker.join(LOOK_S)     # it may be waiting for somebody, too
