"""AlertPolicy, AlertCondition and MaintenancePolicy documents, read into objects."""

from __future__ import annotations

import re
from dataclasses import replace
from zoneinfo import ZoneInfo

from streams.slo.library import Library, duration_s, name_of, zone
from streams.slo.maintenance import MaintenancePolicy, MaintenanceWindow
from streams.slo.objects import AlertCondition, AlertPolicy
from streams.yamlfile import Node

__all__ = ["maintenance_policy", "read_policy"]

RULE_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")


def read_policy(node: Node, library: Library) -> AlertPolicy:
    if node.has("alertPolicyRef"):
        node.allow("alertPolicyRef")
        node = library.find("AlertPolicy", node.need("alertPolicyRef"))
    node.allow("apiVersion", "kind", "metadata", "spec")
    spec = node.need("spec")
    spec.allow("description", "alertWhenNoData", "alertWhenResolved", "alertWhenBreaching", "conditions", "notificationTargets")
    conditions = spec.need("conditions").items()
    if len(conditions) != 1:
        spec.need("conditions").fail("'conditions' must have exactly one entry", "OpenSLO v1: write another AlertPolicy")
    targets = spec.get("notificationTargets")
    switches = {key: spec.get(key) for key in ("alertWhenBreaching", "alertWhenResolved", "alertWhenNoData")}
    breaching, resolved, no_data = (bool(switch and switch.boolean()) for switch in switches.values())
    return AlertPolicy(
        name_of(node), read_condition(conditions[0], library), breaching, resolved, no_data,
        tuple(target_name(target) for target in targets.items()) if targets else (),
    )


def target_name(node: Node) -> str:
    return node.need("targetRef").text() if node.has("targetRef") else name_of(node)


def read_condition(node: Node, library: Library) -> AlertCondition:
    if node.has("conditionRef"):
        node.allow("conditionRef")
        node = library.find("AlertCondition", node.need("conditionRef"))
    node.allow("apiVersion", "kind", "metadata", "spec")
    spec = node.need("spec")
    spec.allow("description", "severity", "condition")
    condition = spec.need("condition")
    condition.allow("kind", "op", "threshold", "lookbackWindow", "alertAfter")
    if condition.has("kind"):
        condition.need("kind").choice(("burnrate",))
    after, op = condition.get("alertAfter"), condition.get("op")
    return AlertCondition(
        name=name_of(node), severity=spec.need("severity").text(), threshold=condition.need("threshold").number(minimum=0),
        lookback_s=duration_s(condition.need("lookbackWindow")), alert_after_s=duration_s(after, zero=True) if after else 0,
        op=op.choice(("gt", "gte", "lt", "lte")) if op else "gt",
    )


def maintenance_policy(document: Node, library: Library) -> MaintenancePolicy:
    spec = document.need("spec")
    spec.allow("appliesTo", "exclude", "windows")
    applies, exclude, windows = spec.get("appliesTo"), spec.get("exclude"), spec.get("windows")
    for name in applies.items() if applies else ():
        library.find("SLO", name)
    return MaintenancePolicy(
        name_of(document), applies.texts() if applies else (),
        tuple(reason.text() for reason in exclude.items()) if exclude else ("planned",),
        tuple(maintenance_window(window) for window in windows.items()) if windows else (),
    )


def maintenance_window(node: Node) -> MaintenanceWindow:
    node.allow("entity", "start", "end", "duration", "timeZone", "repeat", "reason")
    start, entity, reason, zone_node = node.need("start").time(), node.get("entity"), node.get("reason"), node.get("timeZone")
    zone_name = zone(zone_node) if zone_node else "UTC"
    if node.one_of("end", "duration") == "duration":
        length_s = duration_s(node.need("duration"))
    else:
        place = ZoneInfo(zone_name)
        length_s = int(node.need("end").time().replace(tzinfo=place).timestamp() - start.replace(tzinfo=place).timestamp())
        if length_s <= 0:
            node.need("end").fail("'end' is not after 'start'")
    which, why = entity.text() if entity else "*", reason.text() if reason else "planned"
    window = MaintenanceWindow(which, start, length_s, zone_name, reason=why)
    repeat = node.get("repeat")
    return replace(window, rule=checked_rule(repeat, window)) if repeat else window


def checked_rule(node: Node, window: MaintenanceWindow) -> str:
    hint = "an RFC 5545 rule: FREQ=WEEKLY;BYDAY=SU"
    text = node.text().removeprefix("RRULE:")
    frequency = re.search(r"\bFREQ=(\w+)", text)
    if not frequency or frequency[1] not in RULE_FREQUENCIES:
        node.fail(f"'{text}' does not repeat {' '.join(RULE_FREQUENCIES)}", hint)
    try:
        if not replace(window, rule=text).ever():
            node.fail(f"'{text}' never happens after {window.start}", hint)
    except (ValueError, TypeError, KeyError) as error:
        node.fail(f"'{text}' is not a recurrence: {error}", hint)
    return text
