"""Rate rules over several windows, against sums computed anew from all that was fed."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from streams.clock import NS
from streams.rules import Rule, RuleEngine
from streams.rules.rate import RateState
from tests.alert_scenario import Scenario, seconds, windows_batch

ERRORS = Rule("Errors", "rate", "if_in_errors", column="rate", op=">", value=5.0, resolve=5.0, over_ns=60 * NS)
START = seconds("10:00:00")
SEED = int(os.environ.get("ORBITRACK_SEED", "3"))


def row(second: int, increase: float, entity: str = "a") -> dict[str, Any]:
    return {"bucket": START + second, "entity": entity, "metric": "if_in_errors", "increase": float(increase)}


def test_counter_that_comes_every_30_s_has_its_true_rate() -> None:
    """12 a second: 360 errors in every third window, none in the two between."""
    story = Scenario([Rule("Errors", "rate", "if_in_errors", column="rate", op=">", value=11.9, resolve=11.9, over_ns=60 * NS)])
    for second in range(0, 600, 30):
        story.feed([row(second, 360)])
    story.expect_firing("Errors", source="a", starts_at="10:00:30", value=12.0)


def test_one_window_alone_does_not_make_a_minute() -> None:
    story = Scenario([ERRORS])
    story.feed([row(0, 300)]).expect_no_notifications()
    story.feed([row(10, 1)]).expect_firing("Errors", source="a", value=301 / 60)
    story.feed([row(20, 0)]).feed([row(50, 0)]).expect_no_notifications()
    story.feed([row(60, 0)]).expect_resolved("Errors", source="a", ends_at="10:01:00", value=1 / 60)


def test_late_increase_counts_in_the_windows_after_it() -> None:
    story = Scenario([ERRORS])
    for second in range(0, 60, 10):
        story.feed([row(second, 40)])
    story.expect_no_notifications()
    story.feed([row(30, 110)])                              # the window of 10:00:30 again: 310 in the minute to 10:01:00
    story.expect_firing("Errors", source="a", starts_at="10:00:50")
    story.feed([row(30, 40)]).expect_resolved("Errors", source="a")


def test_increase_of_long_ago_changes_nothing() -> None:
    story = Scenario([ERRORS])
    story.feed([row(0, 1)]).feed([row(3600, 1)]).feed([row(10, 100_000)]).expect_no_notifications()


def test_port_without_increases_is_forgotten() -> None:
    engine = RuleEngine([ERRORS])
    (state,) = engine.states
    assert isinstance(state, RateState)
    for second in range(0, 3600, 10):
        engine.feed(windows_batch([row(second, int(second == 0)), row(second, 0, "b")]), (START + second) * NS)
    assert state.recent == {}


def test_number_of_ports_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.rules.rate.RECENT_MAX", 3)
    engine = RuleEngine([ERRORS])
    engine.feed(windows_batch([row(0, 1, str(n)) for n in range(10)]), START * NS)
    assert engine.overflow == 7


def test_port_for_which_there_is_no_room_is_judged_by_its_window_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.rules.rate.RECENT_MAX", 1)
    story = Scenario([ERRORS])
    story.feed([row(0, 1), row(0, 300, "b"), row(0, 301, "c")]).expect_firing("Errors", source="c", value=301 / 60)
    story.expect_no_notifications()


def test_rule_without_over_looks_at_one_window() -> None:
    engine = RuleEngine([Rule("Errors", "rate", "m", column="rate"), ERRORS])
    assert [isinstance(state, RateState) for state in engine.states] == [False, True]


def made(dice: random.Random) -> list[dict[str, Any]]:
    """An hour of four ports, with quiet times, gaps and revisions up to two minutes late."""
    rows = []
    for second in range(0, 3600, 10):
        for entity in "abcd":
            if dice.random() < 0.2:
                continue
            busy = (second // 300 + ord(entity)) % 3
            rows.append(row(second, dice.choice((0, 0, 60, 90)) if busy else 0, entity))
            if dice.random() < 0.1:
                again = dice.choice([each for each in rows[-24:] if each["entity"] == entity])
                rows.append({**again, "increase": float(dice.choice((0, 30, 200)))})
    return rows


def verdicts(rows: list[dict[str, Any]], over_s: int) -> dict[tuple[str, int], bool]:
    """Whether the rate at the end of every window is above 5 a second, with all revisions known."""
    valid = {(each["entity"], each["bucket"]): each["increase"] for each in rows}
    return {
        (entity, bucket): sum(valid.get((entity, at), 0.0) for at in range(bucket - over_s + 10, bucket + 10, 10)) / over_s > 5
        for entity, bucket in valid
    }


@pytest.mark.parametrize("over_s", [20, 60, 300])
def test_verdicts_are_those_of_sums_computed_anew(over_s: int) -> None:
    print(f"seed: ORBITRACK_SEED={SEED}")
    rows = made(random.Random(SEED))
    rule = Rule("Errors", "rate", "if_in_errors", column="rate", op=">", value=5.0, resolve=5.0, over_ns=over_s * NS)
    engine = RuleEngine([rule])
    (state,) = engine.states
    expected, compared = verdicts(rows, over_s), 0
    for each in rows:
        engine.feed(windows_batch([each]), START * NS)
    for entity, track in state.tracks.items():
        for bucket_ns, verdict in track.windows:
            assert (verdict == 1) == expected[entity, bucket_ns // NS], (entity, bucket_ns // NS - START)
            compared += 1
    assert compared > 50


def test_neither_cuts_nor_restarts_change_the_alerts() -> None:
    rows = made(random.Random(SEED))

    def tell(cut: random.Random | None) -> dict[str, list[Any]]:
        story, at = Scenario([ERRORS]), 0
        while at < len(rows):
            count = 1 if cut is None else cut.randrange(1, 60)
            story.feed(rows[at:at + count])
            at += count
            if cut is not None and cut.random() < 0.3:
                story.restart()
        told: dict[str, list[Any]] = {}
        for event in story.events:
            told.setdefault(dict(event["labels"])["entity"], []).append({**event, "at": None})
        return told

    straight = tell(None)
    assert sum(map(len, straight.values())) > 10
    for seed in range(2):
        assert tell(random.Random(seed)) == straight, f"seed {seed}"
