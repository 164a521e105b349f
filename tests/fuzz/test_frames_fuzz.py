"""A few hundred new trials of the frames fuzzer."""

from __future__ import annotations

from tests.fuzz import frames
from tests.fuzz.harness import new_trials


def test_new_trials_keep_the_invariant() -> None:
    new_trials("frames", frames.trials, frames.check, 200)
