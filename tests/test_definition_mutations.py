"""Good SLO and rule files, spoilt at random: every mistake is named with its place, nothing else is ever raised."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.errors import DefinitionError
from streams.rules import examine_rules
from streams.slo import compile_objective, examine

GOOD = Path(__file__).parent / "definitions" / "good"
REPOSITORY = Path(__file__).parents[1]
SEED = int(os.environ.get("ORBITRACK_SEED", "5"))
MUTATIONS = 100
VALUES = (None, "", "x", 0, -1, 1e400, float("nan"), 10**30, True, [], {}, [{}], {"a": 1}, "2026-13-40", "*", "99:1", "0m")


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside."""
    pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [(value, key) for key, _ in pairs] + [place for _, inner in pairs for place in places(inner)]


def spoil(documents: list[Any], dice: random.Random) -> list[Any]:
    spoilt = copy.deepcopy(documents)
    for _ in range(dice.randrange(1, 4)):
        found = places(spoilt)
        if not found:                                       # nothing is left to spoil
            break
        container, key = dice.choice(found)
        match dice.randrange(4):
            case 0:
                container[key] = dice.choice(VALUES)
            case 1:
                del container[key]
            case 2 if isinstance(container, dict):
                container[f"{key}x"] = container.pop(key)
            case _:
                container[key] = copy.deepcopy(dice.choice([inner[each] for inner, each in places(spoilt)]))
    return spoilt


def compiled(files: list[Path]) -> list[DefinitionError]:
    """What is right can also be asked."""
    slos, mistakes = examine(files)
    for slo in slos if not mistakes else ():
        for objective in slo.objectives:
            compile_objective(slo, objective, slo.window.span(1_790_000_000))
    return mistakes


@pytest.mark.parametrize(("file", "look"), [
    (GOOD / "slo_everything.yaml", compiled), (REPOSITORY / "schemas" / "slo" / "demo.yaml", compiled),
    (GOOD / "rules_all_keys.yaml", lambda files: examine_rules(files)[1]),
    (GOOD / "rules_polls.yaml", lambda files: examine_rules(files)[1]),
], ids=["slo", "slo-demo", "rules", "rules-polls"])
def test_spoilt_files_are_told_with_their_places(
    file: Path, look: Callable[[list[Path]], list[DefinitionError]], tmp_path: Path
) -> None:
    print(f"seed: ORBITRACK_SEED={SEED} pytest {Path(__file__).name}")
    dice, documents = random.Random(SEED), list(yaml.safe_load_all(file.read_text()))
    spoilt_file, wrong = tmp_path / "spoilt.yaml", 0
    for _ in range(MUTATIONS):
        text = yaml.safe_dump_all(spoil(documents, dice), sort_keys=False, allow_unicode=True)
        spoilt_file.write_text(text)
        mistakes = look([spoilt_file])
        for mistake in mistakes:
            assert mistake.file == str(spoilt_file) or mistake.file == spoilt_file, mistake
            assert mistake.line is not None and 1 <= mistake.line <= text.count("\n") + 1, text
            assert len(str(mistake).splitlines()) <= 3, mistake
        wrong += bool(mistakes)
    assert wrong > MUTATIONS / 3
