"""What the fuzzers share: damage to octets, the command line, and trials in the test suite.

A fuzzer is a module with `trials(seed)`, endless tuples of a trial's seed and what to check, and `check(*what)`, its invariant.
A trial depends on its seed alone, so that the line which a failure prints runs the same again.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

__all__ = ["WORDS", "main", "mutate", "new_trials"]

WORDS = (0, 1, 2, 3, 4, 5, 8, 9, 10, 255, 256, 257, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)

Trials = Callable[[int], Iterator[tuple[Any, ...]]]


def mutate(body: bytes, others: list[bytes], chance: random.Random, size_max: int) -> bytes:
    """`body` with one to eight changes: octets and words overwritten, cut, deleted, inserted, spliced, repeated, padded."""
    data = bytearray(body)
    for _ in range(chance.randrange(1, 9)):
        how = chance.randrange(9)
        at = chance.randrange(len(data) + 1)
        if how == 0 and at < len(data):
            data[at] = chance.randrange(256)
        elif how == 1:
            size = chance.choice((2, 4))
            at = at // size * size
            data[at : at + size] = (chance.choice(WORDS) % 256**size).to_bytes(size, "big")
        elif how == 2:
            del data[at:]
        elif how == 3:
            del data[at : at + chance.randrange(1, 64)]
        elif how == 4:
            data[at:at] = chance.randbytes(chance.randrange(1, 64))
        elif how == 5:
            other = chance.choice(others)
            cut = chance.randrange(len(other) + 1)
            data = data[:at] + other[cut:]
        elif how == 6:
            data += chance.choice(others)
        elif how == 7:
            data[at:at] = data[at : at + chance.randrange(1, 200)] * chance.randrange(1, 5)
        else:
            data += bytes(chance.randrange(1, 64))
        del data[size_max:]
    return bytes(data)


def command(name: str, seed: int) -> str:
    return f"python -m tests.fuzz.{name} --seed {seed} --trials 1"


def new_trials(name: str, trials: Trials, check: Callable[..., None], count: int) -> None:
    """`count` trials that nobody has seen before; pytest shows what was printed when one fails."""
    for seed, *what in islice(trials(random.randrange(2**32)), count):
        print(command(name, seed))
        check(*what)


def main(name: str, about: str | None, trials: Trials, check: Callable[..., None]) -> int:
    """The command line of fuzzer `name`."""
    options = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--trials", type=int, default=None, help="this many and no more, e.g. 1 to run a failure again")
    chosen = options.parse_args()
    first = random.randrange(2**32) if chosen.seed is None else chosen.seed
    end = time.monotonic() + chosen.seconds
    done = 0
    print(f"seed {first}", flush=True)
    for seed, *what in islice(trials(first), chosen.trials):
        if time.monotonic() > end:
            break
        try:
            check(*what)
        except BaseException:
            print(f"failed: {command(name, seed)}", flush=True)
            raise
        done += 1
    print(f"{done} trials, all well")
    return 0
