"""AlertPolicy, AlertCondition and MaintenancePolicy documents, read into objects."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from streams.slo.library import LONGEST_S, Library, duration_s, name_of, optional_text, zone
from streams.slo.maintenance import MaintenancePolicy, MaintenanceWindow
from streams.slo.objects import AlertCondition, AlertPolicy
from streams.slo.spans import MINUTE_S
from streams.yamlfile import Node

__all__ = ["maintenance_policy", "read_condition", "read_policies", "read_policy"]

RULE_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
# The alert role asks every minute, and dates are counted from the first.
REPEATED_S_MAX, REPEATED_YEAR_MIN = 366 * 86_400, 1970


def read_policies(node: Node | None, library: Library) -> tuple[AlertPolicy, ...]:
    """Those of one SLO, whose names differ."""
    found: dict[str, AlertPolicy] = {}
    for each in node.items() if node else ():
        policy: AlertPolicy | None = each.attempt(partial(read_policy, each, library), None)
        if policy is not None and policy.name in found:
            each.note(f"the AlertPolicy '{policy.name}' stands here twice")
        elif policy is not None:
            found[policy.name] = policy
    return tuple(found.values())


def read_policy(node: Node, library: Library) -> AlertPolicy:
    if node.has("alertPolicyRef"):
        node.allow("alertPolicyRef")
        node = library.find("AlertPolicy", node.need("alertPolicyRef"))
    node.allow("apiVersion", "kind", "metadata", "spec")
    spec = node.need("spec")
    spec.allow("description", "alertWhenNoData", "alertWhenResolved", "alertWhenBreaching", "conditions", "notificationTargets")
    attempt = node.attempt
    targets = spec.get("notificationTargets")
    switches = {key: spec.get(key) for key in ("alertWhenBreaching", "alertWhenResolved", "alertWhenNoData")}
    breaching, resolved, no_data = (
        switch is not None and attempt(switch.boolean, otherwise=False) for switch in switches.values()
    )
    return AlertPolicy(
        attempt(lambda: name_of(node), ""), attempt(lambda: only_condition(spec.need("conditions"), library), NO_CONDITION),
        breaching, resolved, no_data,
        tuple(name for names in targets.each(lambda each: target_names(each, library)) for name in names) if targets else (),
        attempt(lambda: optional_text(spec, "description"), ""), str(node.file), node.line,
    )


# Stands in for one with mistakes.
NO_CONDITION = AlertCondition("", "", 0.0, 3600)


def only_condition(node: Node, library: Library) -> AlertCondition:
    conditions = node.items()
    if len(conditions) != 1:
        node.fail("'conditions' must have exactly one entry", "OpenSLO v1: write another AlertPolicy")
    return read_condition(conditions[0], library)


def target_names(node: Node, library: Library) -> tuple[str, ...]:
    """What a [[webhook]] may be called to be meant: the target's name, or what its `spec.target` says."""
    if node.has("targetRef"):
        name = node.need("targetRef").text()
        found = library.kinds["AlertNotificationTarget"].get(name)
        if found is None:
            return (name,)
        node = found
    spec = node.get("spec")
    target = spec.get("target") if spec else None
    return tuple(dict.fromkeys((name_of(node), *((target.text(),) if target else ()))))


def read_condition(node: Node, library: Library) -> AlertCondition:
    if node.has("conditionRef"):
        node.allow("conditionRef")
        node = library.find("AlertCondition", node.need("conditionRef"))
    node.allow("apiVersion", "kind", "metadata", "spec")
    spec = node.need("spec")
    spec.allow("description", "severity", "condition")
    attempt = node.attempt
    name, severity = attempt(lambda: name_of(node), ""), attempt(lambda: spec.need("severity").text(), "")
    condition = spec.need("condition")
    condition.allow("kind", "op", "threshold", "lookbackWindow", "alertAfter")
    if condition.has("kind"):
        attempt(lambda: condition.need("kind").choice(("burnrate",)), "")
    after, op = condition.get("alertAfter"), condition.get("op")
    return AlertCondition(
        name=name, severity=severity,
        threshold=attempt(lambda: condition.need("threshold").number(minimum=0), 0.0),
        lookback_s=attempt(lambda: duration_s(condition.need("lookbackWindow")), 3600),
        alert_after_s=attempt(lambda: duration_s(after, zero=True), 0) if after else 0,
        op=attempt(lambda: op.choice(("gt", "gte", "lt", "lte")), "gt") if op else "gt",
    )


def maintenance_policy(document: Node, library: Library) -> MaintenancePolicy:
    spec = document.need("spec")
    spec.allow("appliesTo", "exclude", "windows")
    attempt = document.attempt
    applies, exclude, windows = spec.get("appliesTo"), spec.get("exclude"), spec.get("windows")
    return MaintenancePolicy(
        name_of(document),
        attempt(lambda: tuple(applies.each(lambda name: name_of(library.find("SLO", name)))), ()) if applies else (),
        attempt(lambda: tuple(reason.text() for reason in exclude.items()), ()) if exclude else ("planned",),
        attempt(lambda: tuple(windows.each(maintenance_window)), ()) if windows else (),
    )


def maintenance_window(node: Node) -> MaintenanceWindow:
    node.allow("entity", "start", "end", "duration", "timeZone", "repeat", "reason")
    attempt = node.attempt
    entity, reason, zone_node, repeat = (node.get(key) for key in ("entity", "reason", "timeZone", "repeat"))
    which = attempt(entity.text, "*") if entity else "*"
    why = attempt(reason.text, "planned") if reason else "planned"
    zone_name = attempt(lambda: zone(zone_node), "UTC") if zone_node else "UTC"
    start = attempt(lambda: node.need("start").time(), None)
    length_s = attempt(lambda: window_length_s(node, start, ZoneInfo(zone_name)), 60)
    window = MaintenanceWindow(which, start or datetime(1970, 1, 1), length_s, zone_name, reason=why)
    return replace(window, rule=attempt(lambda: checked_rule(repeat, window), None)) if repeat else window


def window_length_s(node: Node, start: datetime | None, place: ZoneInfo) -> int:
    if node.one_of("end", "duration") == "duration":
        return duration_s(node.need("duration"))
    end = node.need("end").time()
    if start is None:
        return MINUTE_S
    length_s = int(end.replace(tzinfo=place).timestamp() - start.replace(tzinfo=place).timestamp())
    if length_s <= 0:
        node.need("end").fail("'end' is not after 'start'")
    if length_s > LONGEST_S:
        node.need("end").fail("'end' is more than ten years after 'start'")
    return length_s


def checked_rule(node: Node, window: MaintenanceWindow) -> str:
    hint = "an RFC 5545 rule: FREQ=WEEKLY;BYDAY=SU"
    text = node.text().removeprefix("RRULE:")
    frequency = re.search(r"\bFREQ=(\w+)", text)
    if not frequency or frequency[1] not in RULE_FREQUENCIES:
        node.fail(f"'{text}' does not repeat {' '.join(RULE_FREQUENCIES)}", hint)
    if re.search(r"\bINTERVAL=0+\b", text, re.IGNORECASE):
        node.fail(f"'{text}' stays where it is", "INTERVAL is 1 or more")
    if window.duration_s > REPEATED_S_MAX or window.start.year < REPEATED_YEAR_MIN:
        node.fail("what repeats may last a year at most, and begin in 1970 at the earliest")
    try:
        if not replace(window, rule=text).ever():
            node.fail(f"'{text}' never happens after {window.start}", hint)
    except (ValueError, TypeError, KeyError) as error:
        node.fail(f"'{text}' is not a recurrence: {error}", hint)
    return text
