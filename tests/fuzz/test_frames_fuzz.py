"""The frames fuzzer's corpus, one stream for each way to go wrong, and a few hundred new trials."""

from __future__ import annotations

import json

import pytest

from tests.fuzz import frames
from tests.fuzz.harness import new_trials


@pytest.mark.parametrize("name", sorted(path.name for path in frames.CORPUS.glob("*.json")))
def test_corpus_keeps_the_invariant(name: str) -> None:
    made = json.loads((frames.CORPUS / name).read_text())
    options = made["options"]
    if "vc_mode" in options:                                 # JSON has no numbers as keys
        options["vc_mode"] = {int(vcid): mode for vcid, mode in options["vc_mode"].items()}
    data = bytes.fromhex(made["stream"])
    frames.check(made["kind"], options, data, [])
    frames.check(made["kind"], options, data, list(range(1, len(data), 7)))


def test_new_trials_keep_the_invariant() -> None:
    new_trials("frames", frames.trials, frames.check, 200)
