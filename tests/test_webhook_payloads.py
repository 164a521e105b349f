"""Bodies of webhooks: valid against schemas/webhook, and saying what the events say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from streams.clock import NS
from streams.config import Secret
from streams.errors import ConfigError
from streams.rules import Rule, RuleEngine, fingerprint
from streams.rules.alert import Event
from streams.webhooks import check_webhooks
from streams.webhooks.messages import make_messages
from streams.webhooks.payloads import PAYLOADS, Notice, notices
from tests.alert_scenario import Scenario, seconds, windows_batch
from tests.test_rules import FAN, HOT, SILENT
from tests.webhook_consumers import AlertmanagerApi, PagerDuty, Slack, WebhookV4
from tests.webhook_server import webhook

SCHEMAS = Path(__file__).parents[1] / "schemas" / "webhook"
URL = "https://receiver.example/hook"
RULES = {rule.name: rule for rule in (FAN, HOT, SILENT)}


def batches(*rules):
    """The event batches of a day on which everything happens."""
    found = []
    story = Scenario(rules)
    story.note = lambda events: found.append(events) if events.num_rows else None
    story.samples("rack-7", fan_rpm=0, temp_c=90, up=1).samples('<b>"&\\ü\n', temp_c=99.5).at("10:02:00")
    story.samples("rack-7", fan_rpm=3000, temp_c=20).at("10:03:00").silent("rack-7").at("10:06:00")
    return found


DAY = batches(FAN, HOT, SILENT)


def bodies(form, **settings):
    hook = webhook(URL, format=form, **settings)
    return [json.loads(message.body) for batch in DAY for message in make_messages(batch, RULES, [hook])]


@pytest.mark.parametrize("form", sorted(set(PAYLOADS) - {"template"}))
def test_bodies_are_valid_against_their_schema(form):
    schema = json.loads((SCHEMAS / f"{form}.json").read_text())
    Draft202012Validator.check_schema(schema)
    found = bodies(form)
    assert len(found) >= 4
    for body in found:
        Draft202012Validator(schema).validate(body)


def open_alerts():
    """What is firing after the day, by what was told."""
    firing = set()
    for notice in (notice for batch in DAY for notice in notices(batch)):
        (firing.add if notice.state == "firing" else firing.discard)((notice.rule, notice.labels["entity"]))
    return firing


def test_every_receiver_ends_with_the_alerts_that_are_firing():
    assert open_alerts() == {("Silent", "rack-7"), ("TooHot", '<b>"&\\ü\n')}
    hook, pager, alertmanager = WebhookV4(), PagerDuty(), AlertmanagerApi()
    for body in bodies("alertmanager"):
        hook.take(body)
    for body in bodies("pagerduty", secret=Secret("0123456789abcdef" * 2)):
        pager.take(body)
    for body in bodies("alertmanager-api"):
        alertmanager.take(body)
    assert hook.open == pager.open == alertmanager.open_at(seconds("10:07:00")) == open_alerts()


def test_slack_shows_every_change_in_its_colour():
    slack = Slack()
    for body in bodies("slack"):
        slack.take(body)
    told = [notice.state for batch in DAY for notice in notices(batch)]
    lines = [line for _, text in slack.shown for line in text.splitlines()]
    assert sum("[FIRING]" in line for line in lines) == told.count("firing")
    assert sum("[RESOLVED]" in line for line in lines) == told.count("resolved")
    assert all((color == "#2e9e4f") == ("[FIRING]" not in text) for color, text in slack.shown)


def test_rule_on_an_slo_is_told_under_its_own_name_and_within_the_limits():
    name = "Burn:" + "an-slo-with-a-long-name/" * 12
    rule = Rule(name, "threshold", "up", op="<", value=1.0, resolve=1.0, alertname="Burn", labels={"slo": name[5:]})
    story = Scenario([rule]).samples("link-1", up=0).at("10:00:10")
    (batch,) = [story.engine.batch([(rule, Event("link-1", 1, "firing", 9.0, 10**18, None, None))], 10**18)]
    (v4,) = make_messages(batch, {name: rule}, [webhook(URL)])
    (page,) = make_messages(batch, {name: rule}, [webhook(URL, format="pagerduty", secret=Secret("k" * 32))])
    hook, pager = WebhookV4(), PagerDuty()
    hook.take(json.loads(v4.body))
    pager.take(json.loads(page.body))
    assert hook.open == pager.open == {("Burn", "link-1")}
    assert json.loads(v4.body)["groupLabels"] == {"alertname": "Burn"}


@pytest.mark.parametrize(("tells", "states"), [(("firing",), ["firing"]), (("resolved",), ["resolved"]), ((), [])])
def test_policy_decides_which_states_are_told(tells, states):
    rules = {HOT.name: replace(HOT, tells=tells)}
    found = [message for batch in batches(HOT) for message in make_messages(batch, rules, [webhook(URL)])]
    assert {alert["status"] for message in found for alert in json.loads(message.body)["alerts"]} == set(states)


def test_every_format_has_a_schema():
    assert {file.stem for file in SCHEMAS.glob("*.json")} == set(PAYLOADS) - {"template"}


def test_alertmanager_payload_says_what_the_events_say():
    told = [notice for batch in DAY for notice in notices(batch)]
    alerts = [alert for body in bodies("alertmanager") for alert in body["alerts"]]
    assert [(each["status"], each["fingerprint"]) for each in alerts] == [
        (notice.state, f"{notice.fingerprint:016x}") for notice in told
    ]
    for alert in alerts:
        assert int(alert["fingerprint"], 16) == fingerprint(alert["labels"])
        assert (alert["endsAt"] == "0001-01-01T00:00:00Z") == (alert["status"] == "firing")
    fan = next(alert for alert in alerts if alert["labels"]["alertname"] == "FanStopped" and alert["status"] == "resolved")
    assert fan["startsAt"] == "2026-03-01T10:00:00.000Z"
    assert fan["endsAt"] == "2026-03-01T10:02:00.000Z"
    assert fan["annotations"] == {"value": "3000"}


def test_group_has_the_labels_that_all_its_alerts_share():
    hot = next(body for body in bodies("alertmanager") if len(body["alerts"]) == 2)
    assert hot["groupLabels"] == {"alertname": "TooHot"}
    assert hot["commonLabels"] == {"alertname": "TooHot", "metric": "temp_c", "severity": "warning"}
    assert hot["receiver"] == "ops"


def test_alertmanager_api_holds_a_firing_alert_for_a_week_and_ends_it_when_resolved():
    alerts = [alert for body in bodies("alertmanager-api") for alert in body]
    assert alerts[0]["endsAt"] == "2026-03-08T10:00:10.000Z"
    fan = [alert for alert in alerts if alert["labels"]["alertname"] == "FanStopped"]
    assert [alert["endsAt"] for alert in fan] == ["2026-03-08T10:01:00.000Z", "2026-03-01T10:02:00.000Z"]


def test_pagerduty_events_of_one_alert_share_a_key():
    events = bodies("pagerduty", secret=Secret("routing"))
    fan = [event for event in events if event["dedup_key"].startswith("FanStopped/")]
    assert [event["event_action"] for event in fan] == ["trigger", "resolve"]
    assert len({event["dedup_key"] for event in fan}) == 1
    assert fan[0]["routing_key"] == "routing"
    assert fan[0]["payload"]["severity"] == "critical"
    assert "payload" not in fan[1]


def test_slack_text_cannot_be_broken_out_of():
    text = json.dumps(bodies("slack"))
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_slack_message_of_many_alerts_is_bounded():
    many = [
        Notice(0, "A", number, 1, "firing", {"entity": "x" * 200}, {"summary": "<" * 500}, 1.0, 0, None, None)
        for number in range(100)
    ]
    body = json.loads(PAYLOADS["slack"](webhook(URL, format="slack"), many))
    Draft202012Validator(json.loads((SCHEMAS / "slack.json").read_text())).validate(body)
    assert body["text"] == "FIRING: A (100)"


def test_template_fills_texts_and_stays_json(tmp_path):
    file = tmp_path / "own.json"
    file.write_text(json.dumps({
        "title": "{rule} is {state}", "who": ["{entity}", {"sev": "{severity}"}], "n": 1, "value": "{value}",
        "odd": "{nothing}", "at": "{at}",
    }))
    hook = webhook(URL, format="template", template=str(file))
    first = json.loads(make_messages(DAY[0], RULES, [hook])[1].body)
    assert first == {
        "title": "TooHot is firing", "who": ['<b>"&\\ü\n', {"sev": "warning"}], "n": 1, "value": "99.5", "odd": "{nothing}",
        "at": "2026-03-01T10:00:10.000Z",
    }


@pytest.mark.parametrize(("text", "message"), [
    ('{"a": NaN}', r"own\.json: cannot be read: Out of range float values are not JSON compliant"),
    ('{"a": "\\ud800"}', r"own\.json: cannot be read: .* surrogates not allowed"),
    ("{", r"own\.json:1: is not JSON: Expecting property name"), ('{\n "a": \x00}', r"own\.json:2: is not JSON"),
    ("[" * 9999, "own.json: is nested too deep"),
])
def test_template_that_is_not_json_is_refused_at_start(tmp_path, text, message):
    (tmp_path / "own.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        check_webhooks([webhook(URL, format="template", template=str(tmp_path / "own.json"))])


def test_pagerduty_without_a_routing_key_is_refused_at_start():
    with pytest.raises(ConfigError, match=r"webhook 'ops' has no secret\n  hint: .* routing key"):
        check_webhooks([webhook(URL, format="pagerduty", secret=None)])


def test_webhook_ids_are_the_same_for_the_same_events_and_unlike_for_others():
    hooks = [webhook(URL, name="a"), webhook(URL, name="b"), webhook(URL, name="c", format="pagerduty")]
    first = [message.webhook_id for batch in DAY for message in make_messages(batch, RULES, hooks)]
    second = [message.webhook_id for batch in DAY for message in make_messages(batch, RULES, hooks)]
    assert first == second
    assert len(set(first)) == len(first)
    assert all(len(each) == 36 and each.startswith("msg_") for each in first)


def test_alert_that_changes_twice_in_a_batch_is_told_twice():
    engine = RuleEngine([HOT])
    rows = [
        {"bucket": 10 * number, "entity": "a", "metric": "temp_c", "value": value}
        for number, value in enumerate((90, 20, 90, 20))
    ]
    messages = make_messages(engine.feed(windows_batch(rows), 100 * NS), RULES, [webhook(URL)])
    assert [json.loads(message.body)["status"] for message in messages] == ["firing", "resolved", "firing", "resolved"]
    assert {message.lane for message in messages} == {"TooHot"}
