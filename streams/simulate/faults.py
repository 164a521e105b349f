"""What happens to frames on their way, with a record of it.

    arrived, held = spoil(frames, held, faults, generator, account, spoil_datagrams)

Whatever is spoiled here is recognisable as spoiled, so that a test can say exactly which rows must come out at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.simulate.frames import Frames, Ints, concatenate

__all__ = ["Account", "Faults", "Spoiling", "arrive", "spoil", "spoil_datagrams", "spoil_stream"]

Spoiling = Callable[[Frames, Ints, np.random.Generator], tuple[Frames, Counter[str]]]


@dataclass(frozen=True)
class Faults:
    """Probabilities for each frame."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0         # overtaken by the next frame of its sender
    corruption: float = 0.0

    def scaled(self, factor: float) -> Faults:
        return Faults(**{name: min(1.0, value * factor) for name, value in asdict(self).items()})


@dataclass
class Account:
    """What was made and what became of it: made + duplicated = lost + sent + unsent, once nothing is held back any more."""

    made: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    sent: int = 0
    sent_bytes: int = 0
    unsent: int = 0                 # nobody listened; set by whoever sends
    corrupted: Counter[str] = field(default_factory=Counter)        # by what was done; in `sent`
    records: Counter[str] = field(default_factory=Counter)          # in the frames that arrive and are whole
    by_source: Counter[str] = field(default_factory=Counter)        # sent

    def add(self, other: Account) -> None:
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, getattr(self, name) + value)

    def as_dict(self) -> dict[str, Any]:
        return {name: dict(sorted(each.items())) if isinstance(each, Counter) else each for name, each in vars(self).items()}


def spoil(
    frames: Frames, held: Frames | None, faults: Faults, generator: np.random.Generator, account: Account, spoiling: Spoiling,
    extra_loss: Ints | None = None,
) -> tuple[Frames, Frames | None]:
    """(frames that arrive, in the order in which they do; frames held back until their sender's next).

    `held` is the second part of the call before. `extra_loss` are rows that are lost whatever the dice say.
    """
    count = len(frames)
    dice = generator.random((3, count))
    account.made += count
    is_lost = dice[0] < faults.loss
    if extra_loss is not None:
        is_lost[extra_loss] = True
    account.lost += int(is_lost.sum())
    kept = np.flatnonzero(~is_lost)
    is_double = dice[1, kept] < faults.duplication
    account.duplicated += int(is_double.sum())
    rows = np.repeat(kept, 1 + is_double)
    is_late = (dice[2] < faults.reordering)[rows]
    arriving = frames.take(rows)
    if held is not None:
        arriving = concatenate([held, arriving])
        is_late = np.concatenate([np.ones(len(held), bool), is_late])
    order, waiting = overtake(arriving.source, is_late, account)
    return arrive(arriving.take(order), faults, generator, account, spoiling), arriving.take(waiting) if len(waiting) else None


def arrive(frames: Frames, faults: Faults, generator: np.random.Generator, account: Account, spoiling: Spoiling) -> Frames:
    """The last part of the way: some are corrupted, all are counted."""
    is_corrupt = generator.random(len(frames)) < faults.corruption
    account.records.update(count_records(frames.weight[~is_corrupt].sum(axis=0)))
    frames = frames.packed()                # also: both copies of a doubled frame get bytes of their own
    if is_corrupt.any():
        frames, what = spoiling(frames, np.flatnonzero(is_corrupt), generator)
        account.corrupted.update(what)
        frames = frames.packed()
    account.sent += len(frames)
    account.sent_bytes += len(frames.data)
    return frames


RECORDS = ("flow_samples", "counter_samples", "packets")


def count_records(sums: Ints) -> Counter[str]:
    return Counter({name: int(total) for name, total in zip(RECORDS, sums, strict=True) if total})


def overtake(source: Ints, is_late: npt.NDArray[np.bool_], account: Account) -> tuple[Ints, Ints]:
    """(rows in their new order, rows that wait): a late row changes places with the next of its source, or waits for it."""
    rows = np.arange(len(source))
    if not is_late.any():
        return rows, rows[:0]
    by_source = np.argsort(source, kind="stable")
    late, same = is_late[by_source], np.append(source[by_source][:-1] == source[by_source][1:], False)
    waits = late & ~same
    swaps = np.flatnonzero(late & same & ~np.append(late[1:], False))       # the next one is not late itself
    moved = by_source.copy()
    moved[swaps], moved[swaps + 1] = by_source[swaps + 1], by_source[swaps]
    account.reordered += len(swaps)
    order = np.empty_like(rows)
    order[by_source] = moved
    waiting = by_source[waits]
    return order[~np.isin(order, waiting)], waiting


def spoil_datagrams(frames: Frames, rows: Ints, generator: np.random.Generator) -> tuple[Frames, Counter[str]]:
    """Half get a wrong version, half end inside their header: either way nothing of them can be used."""
    is_cut = generator.random(len(rows)) < 0.5
    cut, wrong = rows[is_cut], rows[~is_cut]
    sizes = frames.sizes.copy()
    sizes[cut] = generator.integers(1, 28, len(cut))
    data = frames.data.copy()
    data[frames.starts[wrong] + 3] ^= 0x40
    spoiled = Frames(frames.time_ns, frames.source, frames.starts, sizes, frames.weight, data)
    return spoiled, Counter(cut=len(cut), wrong_version=len(wrong))


def spoil_stream(frames: Frames, rows: Ints, generator: np.random.Generator) -> tuple[Frames, Counter[str]]:
    """A packet becomes 5 to 60 bytes of noise that nowhere look like a header: their version number is never 000."""
    sizes = generator.integers(5, 61, len(rows))
    noise = generator.integers(0xE0, 0x100, int(sizes.sum()), dtype=np.uint8)
    starts = np.cumsum(sizes) - sizes
    garbage = Frames(frames.time_ns[rows], frames.source[rows], starts, sizes, np.zeros_like(frames.weight[rows]), noise)
    both = concatenate([frames, garbage])
    order = np.arange(len(frames))
    order[rows] = len(frames) + np.arange(len(rows))
    return both.take(order), Counter(garbage=len(rows), garbage_bytes=int(sizes.sum()))
