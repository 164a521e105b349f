"""What the engine keeps over restarts: only what changed is written, no more than there is room for, and old files are read.

That rows written one by one are everything is checked by every story of tests/alert_scenario.py.
"""

from __future__ import annotations

import random
from array import array
from dataclasses import replace
from typing import Any

import pytest

from streams.clock import NS
from streams.rules import Rule, RuleEngine
from streams.rules.kept import CHUNK_ENTITIES, Kept, Room, pack, unpack
from tests.alert_scenario import seconds, windows_batch

START = seconds("10:00:00")
HOT = Rule("TooHot", "threshold", "temp_c", op=">", value=80.0, resolve=80.0)
SILENT = Rule("Silent", "absence", "up", after_ns=60 * NS)
ERRORS = Rule("Errors", "rate", "if_in_errors", column="rate", op=">", value=5.0, resolve=5.0, over_ns=60 * NS)
RULES = [HOT, SILENT, ERRORS]


def feed(engine: RuleEngine, second: int, *rows: tuple[str, str, float]) -> list[dict[str, Any]]:
    windows = [
        {"bucket": START + second, "entity": entity, "metric": metric, "value": value} for entity, metric, value in rows
    ]
    return engine.feed(windows_batch(windows), (START + second + 10) * NS).to_pylist()


def told(events: list[dict[str, Any]]) -> list[tuple[str, str, str, int]]:
    return [(each["rule"], dict(each["labels"])["entity"], each["state"], each["seq"]) for each in events]


def many(metric: str, value: float) -> list[tuple[str, str, float]]:
    return [(f"10.0.0.{number // 100}/if/{number % 100}", metric, value) for number in range(1000)]


def test_a_change_of_one_entity_writes_its_chunk() -> None:
    engine = RuleEngine(RULES)
    feed(engine, 0, *many("temp_c", 90.0), *many("up", 1.0), *many("if_in_errors", 1.0))
    first = engine.changes()
    assert {name: row for name, row in first.items() if row is not None} == engine.snapshot()
    assert sum(name.startswith("tracks:TooHot:") for name in first) == -(-1000 // CHUNK_ENTITIES)
    engine.written()
    assert engine.changes().keys() == {"engine"}

    feed(engine, 10, ("10.0.0.3/if/7", "temp_c", 91.0), ("10.0.0.3/if/8", "if_in_errors", 1.0), ("10.0.0.3/if/9", "up", 1.0))
    chunk = 307 // CHUNK_ENTITIES
    assert engine.changes().keys() == {"engine", f"tracks:TooHot:{chunk}", f"recent:Errors:{chunk}", f"watched:Silent:{chunk}"}
    assert engine.changes() == engine.changes()             # until they are written
    engine.written()


def test_rows_of_what_is_over_are_deleted() -> None:
    engine = RuleEngine([ERRORS])
    feed(engine, 0, ("a", "if_in_errors", 1.0))
    assert "recent:Errors:0" in engine.changes()
    engine.written()
    for second in range(10, 400, 10):
        feed(engine, second, ("a", "if_in_errors", 0.0))
    changes = engine.changes()
    assert (changes["recent:Errors:0"], engine.snapshot().keys()) == (None, {"engine", "maintenance", "rule:Errors"})
    engine.written()

    feed(engine, 400, ("a", "if_in_errors", 1.0))
    rows = engine.snapshot()
    without = RuleEngine([])
    without.restore(rows)
    assert {name for name, row in without.changes().items() if row is None} == {"recent:Errors:1", "rule:Errors"}


@pytest.mark.parametrize(
    ("metric", "limit", "rule"),
    [("temp_c", "TRACKS_TOTAL_MAX", HOT), ("if_in_errors", "RECENT_TOTAL_MAX", ERRORS), ("up", "SEEN_MAX", SILENT)],
)
def test_all_rules_together_are_bounded(monkeypatch: pytest.MonkeyPatch, metric: str, limit: str, rule: Rule) -> None:
    monkeypatch.setattr(f"streams.rules.engine.{limit}", 1500)
    engine = RuleEngine([replace(rule, name="A"), replace(rule, name="B")])
    feed(engine, 0, *many(metric, 90.0))
    assert engine.overflow == 500
    for second in range(10, 1500, 10):                      # what is over makes room again
        if second < 300:
            feed(engine, second, *many(metric, 0.0))
        engine.advance((START + second + 10) * NS)
    used = [room.used for room in engine.rooms.values()]
    assert sum(used) == (1500 if metric == "up" else 0)


def test_chunks_keep_the_order_in_which_entities_came() -> None:
    dice, kept = random.Random(5), Kept("k", lambda entities: " ".join(entities).encode(), 10_000, Room(10_000))
    model: dict[str, None] = {}
    stored: dict[str, bytes] = {}
    for _ in range(20_000):
        entity = f"e{dice.randrange(600)}"
        if entity in model and dice.random() < 0.4:
            del model[entity]
            kept.drop(entity)
        else:
            model[entity] = None
            kept.touch(entity)
        if dice.random() < 0.01:
            for name, row in kept.rows(kept.changed):
                if row is None:
                    stored.pop(name, None)
                else:
                    stored[name] = row
            kept.changed.clear()
            in_order = sorted(stored, key=lambda name: int(name.removeprefix("k:")))
            assert [entity for name in in_order for entity in stored[name].decode().split()] == list(model)
    assert kept.room.used == len(model)


def test_row_is_read_as_it_was_packed() -> None:
    head, columns = unpack(pack({"entities": ["a\nb", "ü"]}, array("q", [10, -1]), array("d", [0.5])))
    assert head == {"entities": ["a\nb", "ü"]}
    assert (list(array("q", columns[:16])), list(array("d", columns[16:]))) == ([10, -1], [0.5])
