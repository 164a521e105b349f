"""What rules must remember over a restart, in rows of which only those that changed are written again.

    kept = Kept("tracks:TooHot", content, 50_000, room)
    kept.touch("SAT-1")                          # new, or not what it was
    kept.drop("SAT-2")
    kept.rows(kept.changed)                      # {"tracks:TooHot:0": b"...", "tracks:TooHot:7": None}: None is to be deleted
    kept.changed.clear()                         # they are written

Entities stand in chunks, in the order in which they came: those of one exporter beside each other, as its records bring them.
Knows names only; the values are the owner's, whose `content` makes a row of the entities of a chunk.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["Kept", "Room", "dumps", "pack", "unpack"]

# A change of one entity writes its chunk: some tens of KB. Smaller chunks are more rows when everything changes.
CHUNK_ENTITIES = 128


class Room:
    """How many entities all rules of a kind may remember together."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0


class Kept:
    """The entities of one rule; `limit` is how many it may have, `room` what it shares with the other rules."""

    def __init__(self, name: str, content: Callable[[list[str]], bytes], limit: int, room: Room) -> None:
        self.name, self.content, self.limit, self.room = name, content, limit, room
        self.chunk_of: dict[str, int] = {}
        self.chunks: dict[int, list[str]] = {}
        self.changed: set[int] = set()
        self.newest = -1

    @property
    def is_full(self) -> bool:
        return len(self.chunk_of) >= self.limit or self.room.used >= self.room.limit

    def touch(self, entity: str) -> None:
        number = self.chunk_of.get(entity)
        if number is None:
            if len(self.chunks.get(self.newest, ())) in (0, CHUNK_ENTITIES):
                self.newest += 1
                self.chunks[self.newest] = []
            number = self.newest
            self.adopt(number, [entity])
        self.changed.add(number)

    def drop(self, entity: str) -> None:
        number = self.chunk_of.pop(entity)
        chunk = self.chunks[number]
        chunk.remove(entity)
        if not chunk:
            del self.chunks[number]
        self.room.used -= 1
        self.changed.add(number)

    def adopt(self, number: int, entities: Iterable[str]) -> None:
        """Entities of a chunk as it was read; no change."""
        chunk = self.chunks.setdefault(number, [])
        for entity in entities:
            chunk.append(entity)
            self.chunk_of[entity] = number
            self.room.used += 1
        self.newest = max(self.newest, number)

    def rows(self, numbers: Iterable[int]) -> Iterator[tuple[str, bytes | None]]:
        for number in sorted(numbers):
            chunk = self.chunks.get(number)
            yield f"{self.name}:{number}", self.content(chunk) if chunk else None


def pack(head: Any, *columns: array[Any]) -> bytes:
    """A row: what JSON can hold, and columns behind it."""
    return dumps(head) + b"\n" + b"".join(column.tobytes() for column in columns)


def dumps(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def unpack(content: bytes) -> tuple[Any, bytes]:
    head, _, columns = content.partition(b"\n")
    return json.loads(head), columns
