"""Receivers as their makers describe them: each takes our bodies as strictly as it can and keeps what it would show.

    pager = PagerDuty(); pager.take(body); pager.open      # what is on somebody's screen now

Written from Alertmanager's api/v2/openapi.yaml and webhook documentation, PagerDuty's Events API v2 and Slack's incoming
webhooks; they share no code with streams.webhooks. `open` is the set of (rule, entity) that the receiver holds to be firing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["AlertmanagerApi", "PagerDuty", "Slack", "WebhookV4"]

LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
ZERO_TIME = "0001-01-01T00:00:00Z"                          # Go's time.Time{}


def moment(text: Any) -> datetime:
    assert isinstance(text, str) and RFC_3339.fullmatch(text), f"no RFC 3339 time: {text!r}"
    return datetime.fromisoformat(text)


def label_set(labels: Any) -> dict[str, str]:
    assert isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values()), labels
    assert all(LABEL_NAME.fullmatch(name) for name in labels), labels
    return labels


def only(body: dict[str, Any], required: set[str], optional: set[str] = frozenset()) -> None:        # type: ignore[assignment]
    assert required <= body.keys() <= required | optional, f"{set(body) ^ required}"


def fnv_1a_64(labels: dict[str, str]) -> str:
    """prometheus/common, model.LabelSet.Fingerprint: the hash over name 0xFF value 0xFF by name."""
    digest = 14_695_981_039_346_656_037
    for byte in b"".join(name.encode() + b"\xff" + value.encode() + b"\xff" for name, value in sorted(labels.items())):
        digest = ((digest ^ byte) * 1_099_511_628_211) % (1 << 64)
    return f"{digest:016x}"


@dataclass
class WebhookV4:
    """A receiver of Alertmanager's webhook, version 4."""

    open: set[tuple[str, str]] = field(default_factory=set)

    def take(self, body: dict[str, Any]) -> None:
        only(body, {
            "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels", "commonAnnotations",
            "externalURL", "alerts",
        })
        assert (body["version"], body["truncatedAlerts"]) == ("4", 0)
        alerts = body["alerts"]
        assert body["status"] == ("firing" if any(each["status"] == "firing" for each in alerts) else "resolved")
        for each in alerts:
            only(each, {"status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"})
            labels, annotations = label_set(each["labels"]), label_set(each["annotations"])
            assert each["fingerprint"] == fnv_1a_64(labels)
            assert body["groupLabels"].items() <= labels.items() and body["commonLabels"].items() <= labels.items()
            assert body["commonAnnotations"].items() <= annotations.items()
            begun, key = moment(each["startsAt"]), (labels["alertname"], labels["entity"])
            if each["status"] == "firing":
                assert each["endsAt"] == ZERO_TIME
                self.open.add(key)
            else:
                assert each["status"] == "resolved" and moment(each["endsAt"]) >= begun
                self.open.discard(key)


@dataclass
class AlertmanagerApi:
    """POST /api/v2/alerts: an alert fires until its endsAt, which every post moves."""

    ends: dict[str, tuple[tuple[str, str], datetime]] = field(default_factory=dict)

    def take(self, body: list[dict[str, Any]]) -> None:
        assert isinstance(body, list) and body
        for each in body:
            only(each, {"labels"}, {"startsAt", "endsAt", "annotations", "generatorURL"})
            labels = label_set(each["labels"])
            label_set(each.get("annotations", {}))
            assert labels["alertname"] and moment(each["endsAt"]) >= moment(each["startsAt"])
            self.ends[fnv_1a_64(labels)] = ((labels["alertname"], labels["entity"]), moment(each["endsAt"]))

    def open_at(self, now_s: int) -> set[tuple[str, str]]:
        now = datetime.fromtimestamp(now_s, UTC)
        return {key for key, end in self.ends.values() if end > now}


@dataclass
class PagerDuty:
    """Events API v2: a trigger opens what its dedup_key names, a resolve closes it."""

    incidents: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def open(self) -> set[tuple[str, str]]:
        return set(self.incidents.values())

    def take(self, body: dict[str, Any]) -> None:
        is_trigger = body["event_action"] == "trigger"
        required = {"routing_key", "event_action", "dedup_key"} | ({"payload"} if is_trigger else set())
        only(body, required, {"client", "client_url"})
        assert len(body["routing_key"]) == 32 and 0 < len(body["dedup_key"]) <= 255
        if not is_trigger:
            assert body["event_action"] == "resolve"
            self.incidents.pop(body["dedup_key"], None)
            return
        payload = body["payload"]
        only(payload, {"summary", "source", "severity"}, {"timestamp", "component", "group", "class", "custom_details"})
        assert 0 < len(payload["summary"]) <= 1024 and payload["source"]
        assert payload["severity"] in ("critical", "error", "warning", "info")
        moment(payload["timestamp"])
        assert isinstance(payload["custom_details"], dict)
        self.incidents[body["dedup_key"]] = (payload["class"], payload["source"])


@dataclass
class Slack:
    """An incoming webhook: what people see, with &, < and > only as entities."""

    shown: list[tuple[str, str]] = field(default_factory=list)         # (colour, text)

    def take(self, body: dict[str, Any]) -> None:
        only(body, {"text"}, {"attachments", "blocks", "thread_ts", "mrkdwn"})
        assert 0 < len(body["text"]) <= 40_000 and len(body.get("attachments", [])) <= 100
        for each in body["attachments"]:
            only(each, {"fallback"}, {"color", "title", "text", "ts", "footer", "pretext", "fields"})
            assert re.fullmatch("#[0-9a-f]{6}", each["color"]) and isinstance(each["ts"], int)
            for text in (body["text"], each["text"], each["title"], each["fallback"]):
                assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text), text
            self.shown.append((each["color"], each["text"]))
