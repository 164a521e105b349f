"""A few hundred new trials of the frames fuzzer."""

from __future__ import annotations

import random

from tests.fuzz import frames


def test_new_trials_keep_the_invariant() -> None:
    first = random.randrange(2**32)
    for seed, kind, options, data, cuts in frames.trials(first):
        if seed - first == 200:
            break
        print(f"python -m tests.fuzz.frames --seed {seed} --trials 1")
        frames.check(kind, options, data, cuts)
