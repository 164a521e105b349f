"""Rule files: what is understood, and what is said about mistakes.

Each tests/definitions/bad/rules_*.yaml begins with the message, as comments, that it must give.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.clock import NS
from streams.errors import DefinitionError
from streams.rules import Rule, examine_rules, load_rules

DEFINITIONS = Path(__file__).parent / "definitions"
SCHEMAS = Path(__file__).parents[1] / "schemas" / "rules"
BAD = sorted((DEFINITIONS / "bad").glob("rules_*.yaml"))


def test_all_keys_are_understood():
    fan, errors, silent = load_rules([DEFINITIONS / "good" / "rules_all_keys.yaml"])
    assert fan == Rule(
        name="FanStopped", kind="threshold", metric="fan_rpm", entity="rack-*", column="vmin", op="<", value=100.0,
        resolve=200.5, for_ns=90 * NS, keep_firing_for_ns=120 * NS, stale_ns=600 * NS, expire_ns=86_400 * NS,
        severity="critical",
        labels={"team": "dc", "tier": "1"}, webhooks=("ops", "pager"),
        annotations={
            "summary": "{entity}: fan at {value} rpm, below {threshold} ({team})", "runbook": "https://runbooks.example/fan",
        },
    )
    assert (errors.kind, errors.column, errors.op, errors.value, errors.webhooks) == ("rate", "rate", ">=", 5.0, None)
    assert (silent.kind, silent.after_ns, silent.expire_ns, silent.webhooks) == ("absence", 120 * NS, 0, ())


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_mistake_is_named_with_its_place_and_remedy(file):
    expected = [line[2:] for line in file.read_text().splitlines() if line.startswith("# ")]
    with pytest.raises(DefinitionError) as caught:
        load_rules([file])
    assert str(caught.value).replace(f"{file.parent}/", "").splitlines() == expected
    assert caught.value.exit_status == 2
    assert len(expected) <= 3


def test_every_mistake_of_all_files_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("""\
rules:
  - {name: A, kind: treshold}
  - name: B
    kind: threshold
    metric: 7
    operator: ">"
    value: x
    for: 5
    severity: bad
    annotations: {summary: "{valu}", other: "{entty}"}
  - {name: C, kind: burn_rate, slo: one, pairs: pag}
  - just text
""")
    (tmp_path / "b.yaml").write_text("""\
rules:
  - {name: C, kind: anomaly, metric: x, deviations: 3, resolve: 4, window: 30s}
  - {name: D, kind: rate, metric: x, op: ">", value: 1, over: 45m}
  - {name: E, kind: burn_rate, pairs: [{long: 5m, short: 1h, rate: 3}, {long: 4h}], labels: {slo: x}}
""")
    rules, mistakes = examine_rules([tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"])
    assert [(Path(str(each.file)).name, each.line, each.what) for each in mistakes] == [
        ("a.yaml", 2, "'kind' cannot be 'treshold'"),
        ("a.yaml", 5, "'metric' must be a text, not '7'"), ("a.yaml", 6, "unknown key 'operator'"),
        ("a.yaml", 7, "'value' must be a number, not 'x'"),
        ("a.yaml", 8, "'for': '5' is not a duration; write for example 10s, 5m, 1h30m, 14d"),
        ("a.yaml", 9, "'severity' cannot be 'bad'"), ("a.yaml", 10, "nothing is called {valu}"),
        ("a.yaml", 10, "nothing is called {entty}"), ("a.yaml", 11, "'pairs' cannot be 'pag'"),
        ("a.yaml", 12, "a rule must be a mapping, not 'just text'"),
        ("b.yaml", 2, "'resolve' 4 is above 'deviations' 3"), ("b.yaml", 2, "'window' is 30s"),
        ("b.yaml", 2, f"the rule 'C' is already defined in {tmp_path}/a.yaml:11"),
        ("b.yaml", 3, "'over' is 45m"), ("b.yaml", 4, "the label 'slo' is set by orbitrack"),
        ("b.yaml", 4, "'short' 1h is longer than 'long' 5m"), ("b.yaml", 4, "'long' cannot be '4h'"),
        ("c.yaml", None, "cannot be read: No such file or directory"),
    ]
    assert [rule.name for rule in rules] == ["B", "C", "D", "E"]


def test_every_mistake_has_a_file():
    assert len(BAD) >= 35


def test_file_that_is_absent_or_binary_is_named(tmp_path):
    with pytest.raises(DefinitionError, match=r"absent\.yaml: cannot be read: No such file"):
        load_rules([tmp_path / "absent.yaml"])
    (tmp_path / "binary.yaml").write_bytes(b"rules:\n  \xff\xfe")
    with pytest.raises(DefinitionError, match=r"binary\.yaml:2: is not UTF-8 text: invalid start byte"):
        load_rules([tmp_path / "binary.yaml"])
    (tmp_path / "nested.yaml").write_text("rules: " + "[" * 5000)
    with pytest.raises(DefinitionError, match=r"nested\.yaml: is nested deeper than 24 levels"):
        load_rules([tmp_path / "nested.yaml"])


def test_name_in_two_files_is_refused(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("rules:\n  - {name: Silent, kind: absence, metric: up, after: 1m}\n")
    with pytest.raises(DefinitionError, match=r"b\.yaml:2: the rule 'Silent' is already defined in .*a\.yaml:2"):
        load_rules([tmp_path / "a.yaml", tmp_path / "b.yaml"])


@pytest.mark.parametrize("file", sorted(SCHEMAS.glob("*.yaml")), ids=lambda file: file.name)
def test_shipped_rules_load(file):
    assert load_rules([file])


@pytest.mark.parametrize(("over", "is_accepted"), [("10m", True), ("601s", False)])
def test_increases_are_added_over_ten_minutes_at_most(tmp_path, over, is_accepted):
    (tmp_path / "rules.yaml").write_text(f"rules:\n  - {{name: R, kind: rate, metric: x, op: '>', value: 1, over: {over}}}\n")
    if is_accepted:
        assert [rule.over_ns for rule in load_rules([tmp_path / "rules.yaml"])] == [600 * NS]
        return
    with pytest.raises(DefinitionError, match=f"'over' is {over}"):
        load_rules([tmp_path / "rules.yaml"])
