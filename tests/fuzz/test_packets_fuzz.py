"""The packets fuzzer's corpus, and some new trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import packets
from tests.fuzz.harness import new_trials


@pytest.mark.parametrize("path", sorted(packets.CORPUS.glob("*/*.bin")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_corpus_keeps_the_invariant(path: Path) -> None:
    name, data = path.parent.name, path.read_bytes()
    if name not in packets.names():
        pytest.skip(f"no definition {name} here")
    packets.check(name, {}, data, [])
    packets.check(name, {}, data, list(range(0, len(data), 5)))
    packets.check(name, {"join_segments": True}, data, list(range(1, len(data), 17)))


def test_new_trials_keep_the_invariant() -> None:
    new_trials("packets", packets.trials, packets.check, 150)
