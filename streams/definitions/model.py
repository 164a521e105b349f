"""What a definition is once it is loaded: pure data that a worker can pickle and framecodec.plan turns into C structs.

A definition is a tree of containers. For every container that a packet can end in there is a `Layout`: the columns that
it fills and the instructions that fill them. Bit positions count from the start of the packet, the most significant bit
of the first octet being bit 0. Nothing here knows XTCE's syntax; compiler.py and table.py are where this comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from streams.timecodes import TimeCode

__all__ = [
    "Calibrator", "Column", "Comparison", "Condition", "Container", "Definition", "Encoding", "Expression", "Field",
    "Instruction", "Layout", "Node", "Operand", "Parameter", "TimeCode", "TimeScale",
]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One test of the parameter in `slot` (see Definition.slots). False where that parameter has no value in the packet."""

    slot: int
    is_calibrated: bool
    operator: str                                        # == != < <= > >=
    value: int | float | bytes | None = None             # bytes for text and binary
    other: int = -1                                      # slot to compare with instead of `value`
    other_is_calibrated: bool = True
    ranges: tuple[tuple[int, int], ...] = ()             # a label: the raw values that have it; operator is == or !=


# Postfix: a Comparison, or ("and" | "or", operand count). An empty one is true.
Condition = tuple[Comparison | tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Expression:
    """A number of bits or items: `slope` * parameter + `intercept`, or the first lookup that matches, or `intercept` alone."""

    intercept: int = 0
    slope: int = 0
    slot: int = -1
    is_calibrated: bool = True
    lookup: tuple[tuple[Condition, int], ...] = ()

    @property
    def constant(self) -> int | None:
        return self.intercept if self.slot < 0 and not self.lookup else None

    def plus(self, more: int) -> Expression:
        if self.lookup:  # whose intercept says that nothing matched
            return replace(self, lookup=tuple((condition, value + more) for condition, value in self.lookup))
        return replace(self, intercept=self.intercept + more)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a value lies in the packet."""

    # unsigned twos_complement ones_complement sign_magnitude bcd packed_bcd ieee754 milstd_1750a binary string
    kind: str
    size: Expression                                     # bits; of a string: of its box, -1 for none
    byte_order: tuple[int, ...] = ()                     # significance of each byte in the order of the stream; () most first
    is_little_endian: bool = False                       # least significant byte first, at any width
    is_bit_reversed: bool = False                        # least significant bit first
    charset: str = "utf-8"
    leading_size_bits: int = 0
    termination: bytes = b""


class Operand(NamedTuple):
    """Another parameter of the packet in a math operation: its latest value; without one, there is no result."""

    slot: int
    is_calibrated: bool


@dataclass(frozen=True, slots=True)
class Calibrator:
    """`polynomial`: coefficients by rising power. `spline`: points (raw, calibrated).

    `math`: postfix of numbers, operators, `this` (the raw value) and other parameters.
    """

    kind: str
    coefficients: tuple[float, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    order: int = 1
    is_extrapolated: bool = False
    program: tuple[float | str | Operand, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeScale:
    """Counts to time: `base` + (raw * scale + offset) * unit. Absolute times are int64 UTC ns, relative ones seconds."""

    is_absolute: bool
    tick_ns: float                                       # unit * scale, in ns
    offset_ns: float = 0.0
    epoch_ns: int = 0                                    # of the epoch, as a reading of its own scale since 1970
    scale: str = "utc"                                   # utc, tai, gps, tt: what the clock counts
    offset_from: int = -1                                # slot of the time that this one is relative to


class Field(NamedTuple):  # and no dataclass: definitions have thousands, and a frozen one takes four times as long to make
    """One scalar: how it is encoded and what is made of it."""

    path: str                                            # XTCE path, members after a slash: the metric of its samples
    kind: str                                            # gauge state text binary time
    encoding: Encoding
    unit: str | None = None
    calibrators: tuple[tuple[Condition, Calibrator], ...] = ()   # contexts first; the default's condition is empty
    labels: tuple[tuple[int, int, str], ...] = ()        # (lowest raw, highest raw, label), first match counts
    time: TimeScale | None = None
    is_number_as_text: bool = False                      # a string parameter with a numeric encoding

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Other parameters in its math operations."""
        return tuple(item for _, calibrator in self.calibrators for item in calibrator.program if isinstance(item, Operand))

    @property
    def needs_others(self) -> bool:
        """Whether its value depends on that of other parameters."""
        # Most have no calibrator, and this is asked of each entry of each container.
        if self.calibrators and (any(condition for condition, _ in self.calibrators) or self.operands):
            return True
        return self.time is not None and self.time.offset_from >= 0

    @property
    def raw_format(self) -> str:
        """Arrow format of the raw value: the narrowest that is exact."""
        kind, bits = self.encoding.kind, self.encoding.size.constant or 64
        if kind in ("binary", "string"):
            return "z" if kind == "binary" else "u"
        if kind == "ieee754":
            return "g" if bits == 64 else "f"
        if kind == "milstd_1750a":
            return "g"
        is_signed = kind in ("twos_complement", "ones_complement", "sign_magnitude")
        return ("csil" if is_signed else "CSIL")[(bits > 8) + (bits > 16) + (bits > 32)]

    @property
    def value_format(self) -> str:
        """Arrow format of the value: `label`, a time, float64 where calibrated; empty where it is the raw value itself."""
        if self.labels:
            return "label"
        if self.time:
            return "tsn:UTC" if self.time.is_absolute else "g"
        if self.is_number_as_text:
            return "u"
        return "g" if self.calibrators else ""


@dataclass(frozen=True, slots=True)
class Column:
    """One node of a layout's output: a scalar (its number), a struct (members), or a list (one member, its item)."""

    name: str
    domain: int                                          # 0: one value a packet; n: one value an item of list n
    scalar: int = -1
    list_domain: int = -1                                # of a list: the domain of its items
    members: tuple[Column, ...] = ()


# One step of a layout's program, its name first:
#   read FIELD SCALAR BIT           at BIT, or where the last one ended if that is -1
#   load FIELD BIT                  the same for its slot only
#   run DOMAIN FIELD SCALAR COUNT   COUNT (an expression) items of a list, one after another
#   run_to_end DOMAIN FIELD SCALAR BITS     as many as there is room for before the last BITS
#   item DOMAIN                     begin an item of a list
#   seek BIT, move_to E, move_by E, move_from_end E     E: expressions; from the container's begin, the last end, its end
#   if CONDITION JUMP               go on at JUMP unless it holds
#   loop COUNT JUMP, next GAP JUMP  repeat what is between them
#   enter SIZE, leave               an included container; SIZE is an expression or -1
#   save, restore                   where entries go on after some that were placed from the end
Instruction = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What one container fills and how. Scalar columns are numbered in the order of `scalars`."""

    columns: tuple[Column, ...]
    scalars: tuple[tuple[int, int, bool], ...]           # (field, domain, is optional)
    domains: tuple[int, ...]                             # parent domain of each; domain 0 has -1
    fixed: tuple[tuple[int, int], ...]                   # (scalar column, bit) at a constant place in every packet
    fixed_bits: int                                      # what a packet must hold for `fixed`
    tail: tuple[Instruction, ...]                        # everything else
    full: tuple[Instruction, ...]                        # everything, for packets too short and for deciding
    time_scalar: int = -1                                # scalar column with the packet's time
    time_code: TimeCode | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A container in the inheritance tree, seen from the root."""

    container: int                                       # index in Definition.containers, -1 for an abstract one
    layout: int                                          # index in Definition.layouts
    condition: Condition                                 # to get here from the parent
    children: tuple[int, ...]
    # Parameters that the children's conditions need: (slot, field, bit), or bit -1: run the layout to find out.
    loads: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a user can ask for. `raw_type` and `value_type` are Arrow type names."""

    name: str
    path: str
    kind: str
    unit: str | None
    raw_type: str
    value_type: str


@dataclass(frozen=True, slots=True)
class Container:
    """Where a packet can end up."""

    index: int
    name: str
    path: str
    layout: int


@dataclass(frozen=True)
class Definition:
    """A loaded definition. `slots` maps a parameter that others refer to onto its number."""

    file: str
    name: str
    root: str
    containers: tuple[Container, ...]
    fields: tuple[Field, ...]
    conditions: tuple[Condition, ...]
    expressions: tuple[Expression, ...]
    layouts: tuple[Layout, ...]
    nodes: tuple[Node, ...]                              # nodes[0] is the root
    slots: dict[str, int]
    apids: frozenset[int] = field(default_factory=frozenset)   # that its conditions name; helps to find sync again

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What users can ask for, each once, in the order of the containers."""
        used = (number for container in self.containers for number, _, _ in self.layouts[container.layout].scalars)
        return tuple(described(self.fields[number]) for number in dict.fromkeys(used))


ARROW_TYPES = {
    "c": "int8", "C": "uint8", "s": "int16", "S": "uint16", "i": "int32", "I": "uint32", "l": "int64", "L": "uint64",
    "f": "float32", "g": "float64", "u": "utf8", "z": "binary", "label": "label", "tsn:UTC": "timestamp[ns, UTC]",
}


def described(field: Field) -> Parameter:
    raw_type, value_type = ARROW_TYPES[field.raw_format], ARROW_TYPES[field.value_format or field.raw_format]
    return Parameter(field.path.rpartition("/")[2], field.path, field.kind, field.unit, raw_type, value_type)
