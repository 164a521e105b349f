"""Alert rules: states over time, told as scenarios."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest

from streams.clock import NS
from streams.rules import Maintenance, Rule, RuleEngine, fingerprint
from tests.alert_scenario import Scenario, seconds, windows_batch

MINUTE = 60 * NS
FAN = Rule("FanStopped", "threshold", "fan_rpm", op="<", value=100.0, resolve=100.0, for_ns=MINUTE, severity="critical")
HOT = Rule("TooHot", "threshold", "temp_c", op=">", value=80.0, resolve=70.0)
SILENT = Rule("Silent", "absence", "up", after_ns=2 * MINUTE)


@pytest.fixture
def scenario() -> Callable[..., Scenario]:
    return lambda *rules: Scenario(rules)


def test_alert_fires_after_pending_period(scenario):
    story = scenario(FAN)
    story.at("10:00:00").samples("rack-7", fan_rpm=0)
    story.at("10:00:59").expect_no_notifications()
    story.at("10:01:00").expect_firing("FanStopped", source="rack-7", starts_at="10:00:00", value=0.0)
    assert story.states == ["pending", "firing"]


def test_condition_that_ends_before_its_period_tells_nobody(scenario):
    story = scenario(FAN)
    story.at("10:00:00").samples("rack-7", fan_rpm=0)
    story.at("10:00:40").samples("rack-7", fan_rpm=3000)
    story.at("10:30:00").expect_no_notifications()
    assert story.states == ["pending", "inactive"]


def test_firing_alert_resolves_when_the_condition_ends(scenario):
    story = scenario(FAN)
    story.at("10:00:00").samples("rack-7", fan_rpm=0)
    story.at("10:02:00").expect_firing("FanStopped", source="rack-7")
    story.samples("rack-7", fan_rpm=3000)
    story.at("10:02:10").expect_resolved("FanStopped", source="rack-7", starts_at="10:00:00", ends_at="10:02:00", value=3000.0)
    story.at("11:00:00").expect_no_notifications()


def test_firing_alert_stays_between_the_thresholds(scenario):
    story = scenario(HOT)
    story.at("10:00:00").samples("pdu-1", temp_c=81)
    story.at("10:00:10").expect_firing("TooHot", source="pdu-1")
    story.samples("pdu-1", temp_c=75)
    story.at("10:10:00").expect_no_notifications()
    story.samples("pdu-1", temp_c=70)
    story.at("10:10:10").expect_resolved("TooHot", source="pdu-1", ends_at="10:10:00")


def test_value_between_the_thresholds_starts_nothing(scenario):
    story = scenario(replace(HOT, for_ns=20 * NS))
    story.at("10:00:00").samples("pdu-1", temp_c=81)
    story.at("10:00:10").samples("pdu-1", temp_c=75)
    story.at("10:05:00").expect_no_notifications()


def test_flapping_alert_is_held(scenario):
    story = scenario(replace(HOT, resolve=80.0, keep_firing_for_ns=MINUTE))
    story.at("10:00:00").samples("pdu-1", temp_c=90)
    story.at("10:00:10").expect_firing("TooHot", source="pdu-1")
    for minute in range(1, 6):
        story.at(f"10:0{minute}:00").samples("pdu-1", temp_c=60)
        story.at(f"10:0{minute}:40").samples("pdu-1", temp_c=90)
    story.expect_no_notifications()
    story.at("10:06:00").samples("pdu-1", temp_c=60)
    story.at("10:06:59").expect_no_notifications()
    story.at("10:07:00").expect_resolved("TooHot", source="pdu-1", ends_at="10:06:00")


def test_second_episode_goes_on_numbering(scenario):
    story = scenario(HOT)
    story.samples("pdu-1", temp_c=90).at("10:00:10").samples("pdu-1", temp_c=20).at("10:30:00")
    story.samples("pdu-1", temp_c=90).at("10:30:10")
    assert [(event["state"], event["seq"]) for event in story.events] == [("firing", 1), ("resolved", 2), ("firing", 3)]
    assert len({event["fingerprint"] for event in story.events}) == 1


def test_silent_source_fires_pending_alert_by_the_clock(scenario):
    story = scenario(FAN)
    story.at("10:00:00").samples("rack-7", fan_rpm=0).at("10:00:10").silent("rack-7")
    story.at("10:01:09").expect_no_notifications()          # one window of grace for the window that may still come
    story.at("10:01:10").expect_firing("FanStopped", source="rack-7", starts_at="10:00:00")


def test_pending_alert_of_silent_source_ends_when_stale(scenario):
    story = scenario(replace(FAN, for_ns=10 * MINUTE))
    story.at("10:00:00").samples("rack-7", fan_rpm=0).at("10:00:10").silent("rack-7")
    story.at("10:30:00").expect_no_notifications()
    assert story.states == ["pending", "inactive"]
    assert story.events[-1]["reason"] == "no data for 300 s"


def test_firing_alert_of_silent_source_stays_until_it_expires(scenario):
    story = scenario(replace(FAN, expire_ns=30 * MINUTE))
    story.samples("rack-7", fan_rpm=0).at("10:01:00").expect_firing("FanStopped", source="rack-7").silent("rack-7")
    story.at("10:31:00").expect_no_notifications()
    story.at("10:31:20").expect_resolved("FanStopped", source="rack-7", reason="no data for 1800 s")


def test_gap_longer_than_stale_begins_the_period_anew(scenario):
    story = scenario(replace(FAN, for_ns=6 * MINUTE))
    story.feed([{"bucket": seconds("10:00:00"), "entity": "rack-7", "metric": "fan_rpm", "value": 0}])
    story.feed([{"bucket": seconds("10:06:00"), "entity": "rack-7", "metric": "fan_rpm", "value": 0}])
    story.expect_no_notifications()
    assert story.states == ["pending", "inactive", "pending"]


def test_backlog_in_one_batch_fires_what_one_by_one_would_have_fired(scenario):
    rows = [
        {"bucket": seconds("10:00:00") + 10 * n, "entity": "rack-7", "metric": "fan_rpm", "value": 0 if n < 9 else 3000}
        for n in range(20)
    ]
    story = scenario(FAN)
    story.feed(rows)
    assert story.states == ["pending", "firing", "resolved"]
    assert [row["starts_at"].value for row in story.events] == [seconds("10:00:00") * NS] * 3


def test_window_without_a_number_decides_nothing(scenario):
    story = scenario(HOT)
    rows = [{"bucket": seconds("10:00:00"), "entity": "a", "metric": "temp_c", "cnt": 0},
            {"bucket": seconds("10:00:00"), "entity": "b", "metric": "temp_c", "value": float("nan")}]
    story.feed(rows).expect_no_notifications()
    story.feed([{"bucket": seconds("10:00:10"), "entity": "a", "metric": "temp_c", "value": 90}])
    story.expect_firing("TooHot", source="a")
    story.feed([{"bucket": seconds("10:00:20"), "entity": "a", "metric": "temp_c", "value": float("nan")}])
    story.expect_no_notifications()


# --- late data ---

def test_late_revision_corrects_a_pending_alert(scenario):
    story = scenario(FAN)
    story.samples("rack-7", fan_rpm=0).at("10:00:50").revised("10:00:20", "rack-7", fan_rpm=3000)
    story.at("10:01:29").expect_no_notifications()
    story.at("10:01:30").expect_firing("FanStopped", source="rack-7", starts_at="10:00:30")


def test_late_revision_of_the_only_window_ends_a_pending_alert(scenario):
    story = scenario(FAN)
    story.samples("rack-7", fan_rpm=0).at("10:00:10").silent("rack-7").revised("10:00:00", "rack-7", fan_rpm=3000)
    story.at("10:10:00").expect_no_notifications()
    assert story.states == ["pending", "inactive"]


def test_late_revision_before_the_run_lengthens_it(scenario):
    story = scenario(FAN)
    story.samples("rack-7", fan_rpm=0).at("10:00:30").revised("10:00:00", "rack-7", fan_rpm=3000)
    story.revised("10:00:00", "rack-7", fan_rpm=1)
    story.at("10:01:00").expect_firing("FanStopped", source="rack-7", starts_at="10:00:00")


def test_late_revision_of_everything_resolves_but_never_unnotifies(scenario):
    story = scenario(HOT)
    story.samples("pdu-1", temp_c=90).at("10:00:10").expect_firing("TooHot", source="pdu-1")
    story.samples("pdu-1", temp_c=75).at("10:00:20").expect_no_notifications()
    story.revised("10:00:00", "pdu-1", temp_c=60).expect_no_notifications()
    story.revised("10:00:10", "pdu-1", temp_c=60)
    story.expect_resolved("TooHot", source="pdu-1", starts_at="10:00:00")


def test_late_revision_of_a_finished_episode_starts_no_new_one(scenario):
    story = scenario(HOT)
    story.samples("pdu-1", temp_c=90).at("10:00:10").expect_firing("TooHot", source="pdu-1")
    story.samples("pdu-1", temp_c=20).at("10:00:20").expect_resolved("TooHot", source="pdu-1")
    story.revised("10:00:00", "pdu-1", temp_c=95).at("10:05:00").expect_no_notifications()


def test_late_revision_of_a_quiet_source_fires_and_its_next_window_resolves(scenario):
    story = scenario(HOT)
    story.samples("pdu-1", temp_c=20).at("10:01:00").revised("10:00:50", "pdu-1", temp_c=90)
    story.expect_firing("TooHot", source="pdu-1", starts_at="10:00:50")
    story.at("10:01:10").expect_resolved("TooHot", source="pdu-1", ends_at="10:01:00")


# --- absence ---

def test_absence_fires_when_a_seen_source_falls_silent_and_ends_when_it_returns(scenario):
    story = scenario(SILENT)
    story.samples("jpss1", up=1).at("10:05:00").silent("jpss1")
    story.at("10:06:59").expect_no_notifications()
    story.at("10:07:00").expect_firing("Silent", source="jpss1", starts_at="10:05:00", value=120.0)
    story.at("10:20:00").samples("jpss1", up=1)
    story.at("10:20:10").expect_resolved("Silent", source="jpss1", ends_at="10:20:00")


def test_source_that_was_never_seen_is_not_absent(scenario):
    scenario(SILENT).at("12:00:00").expect_no_notifications()


def test_late_revision_is_no_sign_of_life(scenario):
    story = scenario(SILENT)
    story.samples("jpss1", up=1).at("10:05:00").silent("jpss1")
    story.at("10:06:50").revised("10:03:00", "jpss1", up=1)
    story.at("10:07:00").expect_firing("Silent", source="jpss1")
    story.revised("10:04:50", "jpss1", up=1).expect_no_notifications()


def test_own_downtime_is_not_silence_of_a_source(scenario):
    story = scenario(SILENT)
    story.samples("jpss1", up=1).at("10:05:00").restart()
    story.time_s = seconds("11:00:00")                      # an hour in which nobody watched
    story.at("11:01:20").expect_no_notifications()          # 30 s of the pause count, see engine.PAUSE_NS
    story.at("11:10:00").expect_no_notifications()
    story.silent("jpss1").at("11:12:00").expect_firing("Silent", source="jpss1")


def test_old_capture_replayed_is_not_silence(scenario):
    story = scenario(SILENT)
    year_2012 = 1_330_000_000 // 10 * 10
    for n in range(60):
        story.feed([{"bucket": year_2012 + 10 * n, "entity": "jpss1", "metric": "up", "value": 1}])
        story.at(f"10:00:{n:02d}")
    story.expect_no_notifications()


def test_absence_is_forgotten_after_expiry(scenario):
    story = scenario(replace(SILENT, expire_ns=20 * MINUTE))
    story.samples("old", up=1).at("10:01:00").silent("old").at("10:03:00").expect_firing("Silent", source="old")
    story.at("10:21:01").expect_resolved("Silent", source="old", reason="no data for 1200 s")
    story.at("11:21:01").expect_no_notifications()


def test_expiry_of_zero_is_never(scenario):
    story = scenario(replace(SILENT, expire_ns=0), replace(HOT, expire_ns=0))
    story.samples("old", up=1, temp_c=90).at("10:00:10").expect_firing("TooHot", source="old").silent("old")
    story.at("10:02:10").expect_firing("Silent", source="old")
    story.feed([{"bucket": seconds("23:00:00"), "entity": "old", "metric": "temp_c", "value": 90}]).expect_no_notifications()
    story.at("10:40:00").expect_no_notifications()


# --- rate, glob ---

def test_rate_is_increase_per_second(scenario):
    story = scenario(Rule("Errors", "rate", "if_in_errors", column="rate", op=">", value=5.0, resolve=5.0))
    story.feed([{"bucket": seconds("10:00:00"), "entity": "a", "metric": "if_in_errors", "increase": 50.0}])
    story.expect_no_notifications()
    story.feed([{"bucket": seconds("10:00:10"), "entity": "a", "metric": "if_in_errors", "increase": 51.0}])
    story.expect_firing("Errors", source="a", value=5.1)


def test_rule_concerns_only_entities_that_match_its_glob(scenario):
    story = scenario(replace(HOT, entity="rack-*/if/1.0"))
    story.feed([
        {"bucket": seconds("10:00:00"), "entity": entity, "metric": "temp_c", "value": 99}
        for entity in ("rack-1/if/1.0", "rack-1/if/1x0", "xrack-1/if/1.0", "rack-1/if/1.01", "RACK-1/if/1.0")
    ])
    story.expect_firing("TooHot", source="rack-1/if/1.0")


# --- maintenance ---

def test_maintenance_suppresses_with_its_reason_and_fires_afterwards(scenario):
    story = scenario(FAN)
    work = Maintenance("CHG-7", "rack-*", seconds("10:00:30") * NS, seconds("10:10:00") * NS, "planned")
    story.engine.suppress([work])
    story.samples("rack-7", fan_rpm=0).at("10:10:00").expect_no_notifications()
    assert story.states == ["pending", "suppressed"]
    assert story.events[-1]["reason"] == "maintenance CHG-7: planned"
    story.at("10:10:10").expect_firing("FanStopped", source="rack-7", starts_at="10:00:00")


def test_episode_inside_maintenance_tells_nobody(scenario):
    story = scenario(FAN)
    story.engine.suppress([Maintenance("CHG-7", "rack-7", seconds("10:00:00") * NS, seconds("10:10:00") * NS)])
    story.samples("rack-7", fan_rpm=0).at("10:05:00").samples("rack-7", fan_rpm=3000)
    story.at("10:30:00").expect_no_notifications()
    assert story.states == ["pending", "suppressed", "inactive"]


def test_alert_told_before_maintenance_resolves_during_it(scenario):
    story = scenario(FAN)
    story.engine.suppress([Maintenance("CHG-7", "*", seconds("10:02:00") * NS, seconds("10:10:00") * NS)])
    story.samples("rack-7", fan_rpm=0).at("10:01:00").expect_firing("FanStopped", source="rack-7")
    story.at("10:05:00").expect_no_notifications().samples("rack-7", fan_rpm=3000)
    story.at("10:05:10").expect_resolved("FanStopped", source="rack-7")
    assert story.states == ["pending", "firing", "suppressed", "resolved"]


def test_absence_during_maintenance_is_suppressed(scenario):
    story = scenario(SILENT)
    story.engine.suppress([Maintenance("CHG-7", "*", seconds("10:00:00") * NS, seconds("10:10:00") * NS)])
    story.samples("jpss1", up=1).at("10:01:00").silent("jpss1").at("10:09:59").expect_no_notifications()
    assert story.states == ["suppressed"]
    story.at("10:10:00").expect_firing("Silent", source="jpss1")


# --- restart, determinism ---

def test_restart_in_any_second_changes_nothing(scenario):
    def tell(restart_every: int) -> list[dict[str, object]]:
        story = scenario(FAN, replace(HOT, keep_firing_for_ns=30 * NS), SILENT)
        story.samples("rack-7", fan_rpm=3000, temp_c=60, up=1)
        plan = {"10:00:20": (0, 90), "10:01:40": (3000, 75), "10:02:20": (0, 60), "10:02:40": (0, 90), "10:03:50": (50, 20)}
        for clock, (fan_rpm, temp_c) in plan.items():
            while story.time_s < seconds(clock):
                story.tick()
                if restart_every and story.time_s % restart_every == 0:
                    story.restart()
            story.samples("rack-7", fan_rpm=fan_rpm, temp_c=temp_c)
        story.silent("rack-7").at("10:08:00")
        return story.events

    straight = tell(0)
    assert {"pending", "firing", "resolved"} <= {event["state"] for event in straight}
    assert tell(1) == straight
    assert tell(7) == straight


def test_removed_rule_resolves_its_alerts(scenario):
    story = scenario(FAN, HOT)
    story.samples("rack-7", fan_rpm=0, temp_c=20).at("10:01:00").expect_firing("FanStopped", source="rack-7")
    story.restart([HOT]).at("10:01:01")
    story.expect_resolved("FanStopped", source="rack-7", reason="rule removed or changed")
    assert story.events[-1]["fingerprint"] == story.events[-2]["fingerprint"]
    assert story.events[-1]["seq"] == story.events[-2]["seq"] + 1


def test_rule_with_other_labels_ends_the_old_alert_and_begins_a_new_one(scenario):
    story = scenario(FAN)
    story.samples("rack-7", fan_rpm=0).at("10:01:00").expect_firing("FanStopped", source="rack-7")
    story.restart([replace(FAN, severity="warning")]).at("10:01:01").expect_resolved("FanStopped", source="rack-7")
    story.at("10:02:10").expect_firing("FanStopped", source="rack-7", seq=2)


@pytest.mark.parametrize("seed", range(6))
def test_events_do_not_depend_on_how_windows_were_batched(seed):
    print(f"seed {seed}: pytest tests/test_rules.py -k batched")
    dice = random.Random(seed)
    start = seconds("10:00:00")
    rules = [replace(FAN, for_ns=30 * NS), replace(HOT, keep_firing_for_ns=20 * NS, for_ns=10 * NS), SILENT,
             Rule("Rate", "rate", "temp_c", column="rate", op=">", value=8.5, resolve=7.0)]
    rows = []
    for n in range(120):
        for entity in ("a", "b", "c"):
            for metric, levels in (("fan_rpm", (0, 50, 3000)), ("temp_c", (20, 75, 90)), ("up", (1,))):
                if dice.random() < 0.9:
                    rows.append({"bucket": start + 10 * n, "entity": entity, "metric": metric, "value": dice.choice(levels)})
                if dice.random() < 0.1 and n > 15:
                    late = start + 10 * (n - dice.randrange(1, 15))
                    rows.append({"bucket": late, "entity": entity, "metric": metric, "value": dice.choice(levels), "rev": n})

    def run(cuts: list[int]) -> list[dict[str, object]]:
        engine, events = RuleEngine(rules), []
        for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            events += engine.feed(windows_batch(rows[begin:end]), start * NS).to_pylist()
        return sorted(events, key=lambda event: (event["rule"], event["fingerprint"], event["seq"]))

    whole = run([])
    assert len(whole) > 20
    assert run(list(range(1, len(rows)))) == whole
    assert run(sorted(dice.sample(range(1, len(rows)), 17))) == whole


def test_identities_are_unique(scenario):
    story = scenario(HOT, FAN)
    for minute in range(20):
        story.at(f"10:{minute:02d}:00").samples("a", temp_c=90 if minute % 2 else 20, fan_rpm=0 if minute % 3 else 3000)
    identities = [(event["rule"], event["fingerprint"], event["seq"]) for event in story.events]
    assert len(identities) > 20
    assert len(set(identities)) == len(identities)


def test_fingerprint_is_that_of_prometheus_common():
    # prometheus/common model/signature_test.go, TestLabelsToSignature
    assert fingerprint({}) == 14695981039346656037
    assert fingerprint({"name": "garland, briggs", "fear": "love is not enough"}) == 5799056148416392346


def test_labels_and_annotations_are_filled_in(scenario):
    summary = "{entity} of {team}: {value} > {threshold} ({metric}, {rule}, {severity})"
    rule = replace(HOT, labels={"team": "dc"}, annotations={"summary": summary})
    story = scenario(rule).samples("pdu-1", temp_c=90.5).at("10:00:10")
    event = story.events[0]
    assert dict(event["labels"]) == {
        "alertname": "TooHot", "entity": "pdu-1", "metric": "temp_c", "severity": "warning", "team": "dc",
    }
    assert dict(event["annotations"]) == {"summary": "pdu-1 of dc: 90.5 > 80 (temp_c, TooHot, warning)"}
    assert event["fingerprint"] == fingerprint(dict(event["labels"]))


def test_text_of_an_entity_is_never_a_placeholder(scenario):
    rule = replace(HOT, annotations={"summary": "{entity}"})
    story = scenario(rule).samples("{value}", temp_c=99).at("10:00:10")
    assert dict(story.events[0]["annotations"]) == {"summary": "{value}"}


def test_number_of_tracked_entities_is_bounded(scenario, monkeypatch):
    monkeypatch.setattr("streams.rules.threshold.TRACKS_MAX", 3)
    monkeypatch.setattr("streams.rules.absence.SEEN_MAX", 2)
    story = scenario(HOT, replace(SILENT, metric="temp_c"))
    story.feed([{"bucket": seconds("10:00:00"), "entity": str(n), "metric": "temp_c", "value": 99} for n in range(10)])
    assert len(story.notifications) == 3
    assert story.engine.overflow == 7 + 8


def test_empty_batch_and_foreign_metrics_change_nothing(scenario):
    story = scenario(HOT, SILENT)
    story.feed([]).feed([{"bucket": 0, "entity": "a", "metric": "other", "value": 99}])
    assert story.events == []


def test_batch_sliced_from_a_larger_one_is_read_from_its_own_rows(scenario):
    rows = [{"bucket": seconds("10:00:00"), "entity": str(n), "metric": "temp_c", "value": 90 + n} for n in range(8)]
    story = scenario(HOT)
    story.note(story.engine.feed(windows_batch(rows).slice(6), seconds("10:00:10") * NS))
    assert [(dict(event["labels"])["entity"], event["value"]) for event in story.events] == [("6", 96.0), ("7", 97.0)]


def test_snapshot_of_another_version_is_refused():
    import json
    with pytest.raises(AssertionError):
        RuleEngine([]).restore({"engine": json.dumps({"version": 99}).encode()})


def test_feed_of_one_row_batches_keeps_schema():
    events = RuleEngine([HOT]).feed(windows_batch([]), 0)
    assert isinstance(events, pa.RecordBatch)
    assert events.num_rows == 0
