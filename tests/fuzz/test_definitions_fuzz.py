"""The definitions fuzzer's corpus, and some new trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import definitions
from tests.fuzz.harness import new_trials


@pytest.mark.parametrize("path", sorted(definitions.CORPUS.glob("*.xml")), ids=lambda path: path.stem)
def test_corpus_keeps_the_invariant(path: Path) -> None:
    for seed in range(20):
        definitions.check(path.read_bytes(), seed)


def test_new_trials_keep_the_invariant() -> None:
    new_trials("definitions", definitions.trials, definitions.check, 300)
