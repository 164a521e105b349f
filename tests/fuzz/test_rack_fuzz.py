"""The rack fuzzer's corpus, and a few hundred new trials."""

from __future__ import annotations

import pytest

from tests.fuzz import rack
from tests.fuzz.harness import new_trials


def corpus() -> list[tuple[str, str]]:
    return [(path.parent.name, path.name) for path in sorted(rack.CORPUS.glob("*/*.bin"))]


@pytest.mark.parametrize(("codec", "name"), corpus())
def test_corpus_keeps_the_invariant(codec: str, name: str) -> None:
    body = (rack.CORPUS / codec / name).read_bytes()
    rack.check(codec, [body])
    rack.check(codec, [body[:size] for size in range(len(body) + 1)])


def test_new_trials_keep_the_invariant() -> None:
    new_trials("rack", rack.trials, rack.check, 200)
