"""Batches that a collector sent twice, recognized by the stamp it gave them.

A producer that gives up on a batch cannot know whether Kafka has stored it, nor can a collector that died after reading
its spill file back. Both send it again. Every batch therefore carries a stamp: a stream (one link of one run of a
collector) and a number that only grows within it. Within a partition the batches of a stream are in order, so one that
does not go beyond the last number was applied before.

    repeats = Repeats()
    if repeats.take(stamp): ...        # True: new; False: apply it a second time and it counts twice
    blob = repeats.dump()              # part of the checkpoint, like everything a partition must remember

Batches of other people's producers have no stamp; about those nothing is known here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

__all__ = ["STREAMS_MAX", "Repeats", "Stamp"]

# Runs of collectors times links. The one that was silent for longest is forgotten first.
STREAMS_MAX = 1024
# A run's name has 16 letters, a link's 64 at most, a number 19. Anybody may write to Kafka, so memory is bounded here too.
STAMP_BYTES_MAX = 128


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which batch this is: `number` grows within `stream`."""

    stream: str
    number: int

    def __str__(self) -> str:
        return f"{self.stream}/{self.number}"

    @staticmethod
    def parse(text: bytes) -> Stamp | None:
        """What `str` wrote; None for anything else."""
        if len(text) > STAMP_BYTES_MAX:
            return None
        stream, _, number = text.decode("utf-8", "replace").rpartition("/")
        is_number = number.isascii() and number.isdecimal() and len(number) < 20
        return Stamp(stream, int(number)) if stream and is_number else None


class Repeats:
    """The last number of every stream that wrote to one partition."""

    def __init__(self, streams_max: int = STREAMS_MAX) -> None:
        self.streams_max = streams_max
        self.last: dict[str, int] = {}                 # the most recently heard last

    def take(self, stamp: Stamp) -> bool:
        """Whether a batch is new; from now on it is not."""
        last = self.last.pop(stamp.stream, -1)
        self.last[stamp.stream] = max(last, stamp.number)
        if len(self.last) > self.streams_max:
            del self.last[next(iter(self.last))]
        return stamp.number > last

    def dump(self) -> bytes:
        return json.dumps(self.last).encode()

    def load(self, state: bytes) -> None:
        self.last = json.loads(state)
