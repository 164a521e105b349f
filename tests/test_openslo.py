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
from streams.slo import compile_objective, load, parse
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


def test_every_kind_is_read() -> None:
    latency, quarter = load([DEFINITIONS / "good" / "slo_everything.yaml"])

    assert latency.indicator.good == Source(("latency_ms",), "good")
    assert latency.indicator.selector == Selector(kind="link", site="kiruna")
    assert [(o.name, o.target, o.slice_s) for o in latency.objectives] == [("contract", 0.995, 300), ("internal", 0.999, 3600)]
    assert latency.alerts == (
        AlertPolicy(
            "slow-burn", AlertCondition("burn-2h", "ticket", 3, 7200, 0, "gte"), True, False, True, ("operations", "pager"),
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
