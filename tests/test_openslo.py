"""OpenSLO files: what is read, and what is said of every mistake.

Each tests/definitions/bad/slo_*.yaml says in its first line what its message must hold, ` | ` between the parts; a part
that starts with `NUMBER:` is the line.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from streams.errors import DefinitionError
from streams.slo import compile_objective, examine, load, parse
from streams.slo.objects import AlertCondition, AlertPolicy, Selector, Source
from streams.slo.spans import Span, TimeWindow
from streams.slo.sql import VALUE_COLUMNS

DEFINITIONS = Path(__file__).parent / "definitions"
BAD = sorted((DEFINITIONS / "bad").glob("slo_*.yaml"))
REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_mistake_is_named_with_its_place(file: Path) -> None:
    wants = file.read_text().splitlines()[0].removeprefix("# wants: ").split(" | ")

    with pytest.raises(DefinitionError) as raised:
        load([file])

    message = str(raised.value)
    assert re.match(rf"{re.escape(str(file))}:\d+: ", message), message
    assert len(message.splitlines()) <= 3
    for want in wants:
        line = re.match(r"(\d+): ?(.*)", want)
        assert (line[2] if line else want) in message, message
        assert not line or raised.value.line == int(line[1]), message


@pytest.mark.parametrize(("duration", "is_accepted"), [
    ("10Y", True), ("11Y", False), ("40Q", False), ("39Q", True), ("3660d", True), ("3661d", False), ("999999w", False),
])
def test_windows_last_ten_years_at_most(duration: str, is_accepted: bool) -> None:
    """Of a longer one the span would begin before 1970, or before the year 1, and only the alert role would find out."""
    text = (DEFINITIONS / "bad" / "slo_duration_minutes_for_month.yaml").read_text().replace("1 month", duration)
    if is_accepted:
        (slo,) = parse([("a.yaml", text)])
        assert slo.window.span(1_790_000_000).start_s > 0
        return
    with pytest.raises(DefinitionError, match="'duration' is longer than ten years"):
        parse([("a.yaml", text)])
    with pytest.raises(DefinitionError, match="'timeSliceWindow' is longer than ten years"):
        parse([("a.yaml", text.replace(duration, "1M").replace("timeSliceWindow: 1m", "timeSliceWindow: 600w"))])


def test_every_mistake_of_all_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("""\
apiVersion: openslo/v1
kind: SLO
metadata: {name: one}
spec:
  indicator: {spec: {thresholdMetric: {metricSource: {type: orbitrak, spec: {metric: up, column: vmim, match: {entitty: x}}}}}}
  budgettingMethod: Timeslices
  timeWindow: [{duration: 1M, calendar: {startTime: 2026-13-01, timeZone: Europe/Stokholm}}]
  objectives:
    - {op: gt, value: a, target: 1.5}
    - {opp: gt}
  alertPolicies:
    - alertPolicyRef: nothing
    - {kind: AlertPolicy, metadata: {name: p}, spec: {conditions: []}}
""")
    (tmp_path / "b.yaml").write_text("""\
apiVersion: orbitrack/v1
kind: MaintenancePolicy
metadata: {name: m}
spec:
  appliesTo: [onne]
  windows:
    - {start: 2026-01-01 00:00:00, end: 2025-01-01, timeZone: Mars/Phobos}
    - {start: 2026-01-01 00:00:00, duration: 2x, repeat: FREQ=HOURLY}
---
kind: [
""")

    _, mistakes = examine([tmp_path])

    assert [(Path(str(each.file)).name, each.line, each.what) for each in mistakes] == [
        ("a.yaml", 5, "'type' cannot be 'orbitrak'"), ("a.yaml", 5, "unknown key 'entitty'"),
        ("a.yaml", 5, "'column' cannot be 'vmim'"), ("a.yaml", 6, "unknown key 'budgettingMethod'"),
        ("a.yaml", 7, "'2026-13-01' cannot be read: month must be in 1..12"),
        ("a.yaml", 7, "'Europe/Stokholm' is not a time zone"),
        ("a.yaml", 9, "'target' is 1.5"), ("a.yaml", 9, "'value' must be a number, not 'a'"),
        ("a.yaml", 10, "a thresholdMetric allows one objective only"), ("a.yaml", 10, "unknown key 'opp'"),
        ("a.yaml", 10, "'target' or 'targetPercent' is missing"), ("a.yaml", 10, "'value' is missing"),
        ("a.yaml", 12, "there is no AlertPolicy 'nothing'"), ("a.yaml", 13, "'conditions' must have exactly one entry"),
        ("b.yaml", 5, "there is no SLO 'onne'"), ("b.yaml", 7, "'Mars/Phobos' is not a time zone"),
        ("b.yaml", 7, "'end' is not after 'start'"), ("b.yaml", 8, "'duration' cannot be '2x'"),
        ("b.yaml", 8, "'FREQ=HOURLY' does not repeat DAILY WEEKLY MONTHLY YEARLY"),
        ("b.yaml", 11, "is not YAML: expected the node content, but found '<stream end>'"),
    ]


def test_every_kind_is_read() -> None:
    latency, quarter = load([DEFINITIONS / "good" / "slo_everything.yaml"])

    assert latency.indicator.good == Source(("latency_ms",), "good")
    assert latency.indicator.selector == Selector(kind="link", site="kiruna")
    assert [(o.name, o.target, o.slice_s) for o in latency.objectives] == [("contract", 0.995, 300), ("internal", 0.999, 3600)]
    assert latency.alerts == (
        AlertPolicy(
            "slow-burn", AlertCondition("burn-2h", "ticket", 3, 7200, 0, "gte"), True, False, True,
            ("operations", "webhook", "pager", "pagerduty"),
        ),
        AlertPolicy("fast-burn", AlertCondition("burn-12h", "page", 10, 43_200), False, True, False),
    )
    assert list(latency.burn_windows) == ["5m", "30m", "1h", "2h", "6h", "12h", "1d", "3d"]
    assert latency.labels == {"customer": ("acme", "globex"), "tier": ("gold",)}
    assert latency.window == TimeWindow(4, "w")
    assert [policy.name for policy in latency.maintenance] == ["everywhere", "uplink-nights"]
    assert latency.exclude == ("planned", "emergency")
    assert quarter.window == TimeWindow(1, "Q", False, datetime(2026, 1, 1), "America/New_York")
    assert (quarter.indicator.raw_type, quarter.unknown_is_bad, quarter.credit_tiers) == ("failure", False, ())
    assert [policy.name for policy in quarter.maintenance] == ["everywhere"]


def test_shipped_objectives_are_usable() -> None:
    slos = load([REPOSITORY / "schemas" / "slo"])

    assert [slo.name for slo in slos] == ["satellite-packet-delivery", "rack-interface-error-free"]
    for slo in slos:
        for objective in slo.objectives:
            assert compile_objective(slo, objective, Span(0, 3600)).sql


def test_burn_windows_before_the_span_lie_on_its_slices() -> None:
    slo = load([DEFINITIONS / "good" / "slo_everything.yaml"])[0]

    question = compile_objective(slo, slo.objectives[1], Span(90_000, 90_000 + 5400))

    first = question.parameters["first"]
    assert isinstance(first, int) and (90_000 - first) % 3600 == 0
    # Two slices in the span, of which the second is cut; slices that start in the last 5 min, 30 min, 1 h: none, one, one.
    assert question.slices[:4] == (2, 0, 1, 1)


def test_references_go_over_files() -> None:
    sli = (
        "apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: up}\n"
        "spec: {thresholdMetric: {metricSource: {type: orbitrack, spec: {metric: up}}}}"
    )
    slo = (
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: s}\n"
        "spec: {indicatorRef: up, budgetingMethod: Occurrences, objectives: [{op: gt, value: 0, target: 0.5}]}"
    )

    assert parse([("slo.yaml", slo), ("sli.yaml", sli)])[0].indicator.name == "up"


DATA_SOURCE = """apiVersion: openslo/v1
kind: DataSource
metadata: {name: windows}
spec: {type: %s, connectionDetails: {anything: goes}}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: up}
spec: {thresholdMetric: {metricSource: {metricSourceRef: %s, spec: {metric: up}}}}
"""


@pytest.mark.parametrize(("kind", "reference", "what"), [
    ("orbitrack", "windows", None), ("Prometheus", "windows", "'type' cannot be 'Prometheus'"),
    ("orbitrack", "window", "there is no DataSource 'window'"),
    ("orbitrack", "windows, type: orbitrack", None),
    ("orbitrack", "windows, type: Prometheus", "'type' cannot be 'Prometheus'"),
])
def test_type_of_a_source_may_be_that_of_its_data_source(kind: str, reference: str, what: str | None) -> None:
    text = DATA_SOURCE % (kind, reference)
    if what is None:
        assert parse([("slo.yaml", text)]) == []
        return
    with pytest.raises(DefinitionError, match=what):
        parse([("slo.yaml", text)])


REPEATED = """apiVersion: orbitrack/v1
kind: MaintenancePolicy
metadata: {name: yearly}
spec: {appliesTo: [], windows: [{start: %s, duration: %s, repeat: FREQ=YEARLY}]}
"""


@pytest.mark.parametrize(("start", "duration", "is_accepted"), [
    ("1970-01-01 00:00:00", "1d", True), ("1969-12-31 23:59:59", "1d", False),
    ("2026-01-01 00:00:00", "366d", True), ("2026-01-01 00:00:00", "367d", False),
])
def test_what_repeats_begins_in_1970_and_lasts_a_leap_year_at_most(start: str, duration: str, is_accepted: bool) -> None:
    text = REPEATED % (start, duration)
    if is_accepted:
        assert parse([("maintenance.yaml", text)]) == []
        return
    with pytest.raises(DefinitionError, match="a year at most, and begin in 1970 at the earliest"):
        parse([("maintenance.yaml", text)])


LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20))])


@pytest.mark.parametrize("text", [
    "a: &a [*a]", "- " * 200 + "x", "\x00", "{" * 500, "a: " + "[" * 100, "!!python/object:os.system x", "? {a: b}: c",
    LAUGHS,
])
def test_hostile_yaml_is_a_definition_error(text: str) -> None:
    with pytest.raises(DefinitionError):
        parse([("hostile.yaml", text)])


def test_file_that_is_no_text_or_absent_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")

    for name, what in (("latin.yaml", "is not UTF-8 text"), ("none.yaml", "cannot be read: No such file")):
        with pytest.raises(DefinitionError, match=what):
            load([tmp_path / name])


def test_empty_file_has_no_objectives(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing yet\n---\n")

    assert load([tmp_path]) == []


def test_example_in_the_docs_is_usable() -> None:
    text = (REPOSITORY / "docs" / "slo.md").read_text()

    slo = parse([("docs/slo.md", re.findall(r"```yaml\n(.*?)```", text, re.S)[0])])[0]

    assert (slo.name, slo.objectives[0].slice_s, len(slo.maintenance[0].windows)) == ("uplink-latency", 300, 2)
    assert [column for column in VALUE_COLUMNS if not re.search(rf"\b{column}\b", text)] == []
