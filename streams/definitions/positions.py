"""Where the next entry of a container begins: a number as long as nothing before it varies, else what the program finds.

`Positions` writes the instructions that move; layout.py decides what is read.
"""

from __future__ import annotations

from streams.definitions.document import Element, Space
from streams.definitions.entries import BITS_MAX, NESTING_MAX, Entries
from streams.definitions.model import Expression, Instruction

__all__ = ["Positions"]


class Positions(Entries):
    full: list[Instruction]  # the program of the layout at hand
    tail: list[Instruction]  # the same without what is read column by column
    bit: int | None  # where the next entry begins, if that is known
    starts: list[int | None]  # of the containers around it
    depth: int  # of conditions and loops
    loops: int
    open_loops: list[tuple[int, int, int]]
    at: Element  # the entry, for errors

    def begin(self, element: Element) -> None:
        """At the start of a packet, with an empty program."""
        self.full, self.tail, self.open_loops = [], [], []
        self.bit, self.starts = 0, [0]
        self.depth = self.loops = 0
        self.at = element

    def emit(self, *instruction: str | int) -> None:
        self.full.append(instruction)
        self.tail.append(instruction)

    def settle(self) -> None:
        """Make the run-time position agree with a known one, before something that moves it by what it finds."""
        if self.bit is not None:
            self.emit("seek", self.known_bit())

    def known_bit(self) -> int:
        """Where the next entry begins, -1 if that is not known."""
        if self.bit is None:
            return -1
        if self.bit > BITS_MAX:
            self.document.fail(self.at, f"bit {self.bit} is in no packet")
        return self.bit

    def begin_loop(self, count: Expression) -> None:
        if self.loops >= NESTING_MAX:
            self.document.fail(self.at, f"more than {NESTING_MAX} repeats inside each other")
        self.open_loops.append((len(self.full), len(self.tail), self.tables.expression(count)))
        self.emit("loop", self.open_loops[-1][2], -1)
        self.depth += 1
        self.loops += 1
        self.bit = None

    def end_loop(self, gap: Expression) -> None:
        full, tail, count = self.open_loops.pop()
        number = self.tables.expression(gap)
        self.settle()
        self.full.append(("next", number, full + 1))
        self.tail.append(("next", number, tail + 1))
        self.full[full] = ("loop", count, len(self.full))
        self.tail[tail] = ("loop", count, len(self.tail))
        self.depth -= 1
        self.loops -= 1
        self.bit = None

    def move(self, entry: Element, location: Element, following: Element | None, space: Space) -> None:
        """LocationInContainerInBits, XTCE 1.1: forwards it gives the entry's start, backwards the entry's end."""
        reference = location.get("referenceLocation", "previousEntry")
        offset = self.parameters.conditions.integer(location, space)
        if reference == "previousEntry":
            if self.bit is not None and offset.constant is not None:
                self.bit += offset.constant
            else:
                self.settle()
                self.emit("move_by", self.tables.expression(offset))
                self.bit = None
        elif reference == "containerStart":
            start = self.starts[-1]
            if start is not None and offset.constant is not None:
                self.bit = start + offset.constant
            else:
                self.emit("move_to", self.tables.expression(offset))
                self.bit = None
        elif reference == "containerEnd":
            size = self.needed_size(entry, space, location)
            self.emit("move_from_end", self.tables.expression(offset.plus(size)))
            self.bit = None
        elif reference == "nextEntry":
            self.before_next(entry, location, following, space, offset)
        else:
            self.document.fail(
                location,
                f"referenceLocation '{reference}' is not known",
                "containerStart, containerEnd, previousEntry or nextEntry",
            )
        if self.bit is not None and self.bit < 0:
            self.document.fail(location, f"this entry would begin {-self.bit} bits before the container")

    def before_next(
        self,
        entry: Element,
        location: Element,
        following: Element | None,
        space: Space,
        offset: Expression,
    ) -> None:
        where = following.find("LocationInContainerInBits") if following is not None else None
        if following is None or where is None or where.get("referenceLocation") not in ("containerStart", "containerEnd"):
            self.document.fail(
                location,
                "nextEntry needs a next entry with a place of its own",
                "give the next entry a LocationInContainerInBits from containerStart or containerEnd",
            )
        distance = self.parameters.conditions.integer(where, space)
        if distance.constant is None or offset.constant is None:
            self.document.fail(location, "nextEntry with a distance that changes is not supported", "a FixedValue")
        size = self.needed_size(entry, space, location)
        if where.get("referenceLocation") == "containerStart":
            start = self.starts[-1]
            if start is not None:
                self.bit = start + distance.constant - offset.constant - size
            else:
                self.emit("move_to", self.tables.expression(Expression(distance.constant - offset.constant - size)))
                self.bit = None
        else:
            back = distance.constant + self.needed_size(following, space, where) + offset.constant + size
            self.emit("move_from_end", self.tables.expression(Expression(back)))
            self.bit = None
