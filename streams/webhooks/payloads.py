"""What a receiver reads: the JSON body for each format. schemas/webhook/*.json describe them.

    body = PAYLOADS["slack"](webhook, notices)

A body is made once and kept; retries send the same bytes. Formats in SINGLE take one notice a message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from streams.clock import NS, format_time
from streams.errors import ConfigError
from streams.rules.alert import fill

if TYPE_CHECKING:
    from pathlib import Path

    from streams.config import Webhook

__all__ = ["PAYLOADS", "SINGLE", "Notice", "load_template", "notices"]

# Alertmanager's "not yet": Go's zero time.
NO_TIME = "0001-01-01T00:00:00Z"
# Alertmanager resolves by itself what is not sent again by `endsAt`. We send once, so we say a week; `resolved` comes before.
ALERTMANAGER_HOLD_NS = 7 * 86_400 * NS
PAGERDUTY_SUMMARY_MAX = 1024            # Events API v2: payload.summary
PAGERDUTY_RULE_MAX = 230                # of the 255 of dedup_key; the fingerprint tells the rest apart
SLACK_LINES_MAX = 20
SLACK_TEXT_MAX = 2900                   # of 3000 that Slack shows
COLORS = {"critical": "#d00000", "warning": "#e8a200", "info": "#3070c0", "resolved": "#2e9e4f"}


@dataclass(frozen=True)
class Notice:
    """One row of model.ALERTS that concerns receivers: `state` is firing or resolved."""

    at_ns: int
    rule: str
    fingerprint: int
    seq: int
    state: str
    labels: dict[str, str]
    annotations: dict[str, str]
    value: float | None
    starts_ns: int
    ends_ns: int | None
    reason: str | None

    @property
    def identity(self) -> str:
        return f"{self.rule}/{self.fingerprint:016x}/{self.seq}"

    @property
    def alertname(self) -> str:
        """What people call the rule; a rule on several SLOs is one rule each."""
        return self.labels.get("alertname", self.rule)

    @property
    def severity(self) -> str:
        return self.labels.get("severity", "warning")

    @property
    def summary(self) -> str:
        """One line for people."""
        told = self.annotations.get("summary") or f"{self.alertname} on {self.labels.get('entity', '?')}"
        reason = f" ({self.reason})" if self.reason else ""
        return f"[{self.state.upper()}] {told}{reason}"


def notices(events: pa.RecordBatch) -> list[Notice]:
    """The rows of a batch of model.ALERTS that concern receivers, in order."""
    told = events.filter(pc.is_in(events.column("state").cast(pa.utf8()), pa.array(["firing", "resolved"])))
    columns = {
        field.name: told.column(field.name).cast(pa.int64()) if pa.types.is_timestamp(field.type) else told.column(field.name)
        for field in told.schema
    }
    lists = {name: column.to_pylist() for name, column in columns.items()}
    return [
        Notice(at, rule, number, seq, state, dict(labels), dict(annotations), value, starts, ends, reason)
        for at, rule, number, seq, state, labels, annotations, value, starts, ends, reason in zip(*lists.values(), strict=True)
    ]


def dump(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def time(time_ns: int | None) -> str:
    return NO_TIME if time_ns is None else format_time(time_ns, 3)


def status(group: Sequence[Notice]) -> str:
    return "firing" if any(notice.state == "firing" for notice in group) else "resolved"


def common(dictionaries: Sequence[dict[str, str]]) -> dict[str, str]:
    """What all of them have with the same value."""
    first, *others = dictionaries
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def alertmanager(webhook: Webhook, group: Sequence[Notice]) -> bytes:
    """Alertmanager's webhook payload, version 4 (Prometheus docs, alerting configuration, <webhook_config>; from memory)."""
    rule = group[0].alertname
    return dump({
        "version": "4", "groupKey": f'{{}}:{{alertname="{rule}"}}', "truncatedAlerts": 0, "status": status(group),
        "receiver": webhook.name, "groupLabels": {"alertname": rule},
        "commonLabels": common([notice.labels for notice in group]),
        "commonAnnotations": common([annotations_of(notice) for notice in group]),
        "externalURL": "",
        "alerts": [
            {
                "status": notice.state, "labels": notice.labels, "annotations": annotations_of(notice),
                "startsAt": time(notice.starts_ns), "endsAt": time(notice.ends_ns), "generatorURL": "",
                "fingerprint": f"{notice.fingerprint:016x}",
            }
            for notice in group
        ],
    })


def annotations_of(notice: Notice) -> dict[str, str]:
    """The rule's annotations and ours: the value, and why a state came about if that is not plain."""
    own = {"value": "" if notice.value is None else f"{notice.value:g}", "reason": notice.reason or ""}
    return {**{name: text for name, text in own.items() if text}, **notice.annotations}


def alertmanager_api(webhook: Webhook, group: Sequence[Notice]) -> bytes:
    """POST /api/v2/alerts of an Alertmanager (its api/v2/openapi.yaml, postableAlerts)."""
    return dump([
        {
            "labels": notice.labels, "annotations": annotations_of(notice), "startsAt": time(notice.starts_ns),
            "endsAt": time(notice.at_ns + ALERTMANAGER_HOLD_NS if notice.state == "firing" else notice.ends_ns),
        }
        for notice in group
    ])


def escaped(text: str) -> str:
    """Slack's three control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack(webhook: Webhook, group: Sequence[Notice]) -> bytes:
    """An incoming webhook: a line for each alert, coloured by state and severity."""
    lines = [escaped(notice.summary) for notice in group[:SLACK_LINES_MAX]]
    if len(group) > SLACK_LINES_MAX:
        lines.append(f"and {len(group) - SLACK_LINES_MAX} more")
    state, rule = status(group), group[0].alertname
    return dump({
        "text": escaped(f"{state.upper()}: {rule} ({len(group)})" if len(group) > 1 else group[0].summary)[:SLACK_TEXT_MAX],
        "attachments": [{
            "color": COLORS[group[0].severity if state == "firing" and group[0].severity in COLORS else "resolved"],
            "title": escaped(rule), "fallback": escaped(rule), "text": "\n".join(lines)[:SLACK_TEXT_MAX],
            "ts": group[0].at_ns // NS, "footer": "orbitrack",
        }],
    })


def pagerduty(webhook: Webhook, group: Sequence[Notice]) -> bytes:
    """Events API v2. The webhook's secret is the integration's routing key."""
    (notice,) = group
    body: dict[str, Any] = {
        "routing_key": webhook.secret.reveal() if webhook.secret else "",
        "dedup_key": f"{notice.rule[:PAGERDUTY_RULE_MAX]}/{notice.fingerprint:016x}",
        "event_action": "trigger" if notice.state == "firing" else "resolve", "client": "orbitrack",
    }
    if notice.state == "firing":
        body["payload"] = {
            "summary": notice.summary[:PAGERDUTY_SUMMARY_MAX], "source": notice.labels.get("entity", "orbitrack"),
            "severity": notice.severity if notice.severity in ("info", "warning", "error", "critical") else "warning",
            "timestamp": time(notice.starts_ns), "component": notice.labels.get("metric", ""), "class": notice.alertname,
            "custom_details": {**notice.labels, **annotations_of(notice)},
        }
    return dump(body)


def template(webhook: Webhook, group: Sequence[Notice]) -> bytes:
    """A JSON file of one's own: `{name}` in its texts becomes a label, an annotation or a field of the event."""
    (notice,) = group
    assert webhook.template is not None
    values = {
        **notice.annotations, **notice.labels, "rule": notice.rule, "state": notice.state, "summary": notice.summary,
        "fingerprint": f"{notice.fingerprint:016x}", "seq": str(notice.seq), "starts_at": time(notice.starts_ns),
        "ends_at": time(notice.ends_ns), "at": time(notice.at_ns), "reason": notice.reason or "",
        "value": "" if notice.value is None else f"{notice.value:g}",
    }

    def filled(part: Any) -> Any:
        if isinstance(part, str):
            return fill(part, values)
        if isinstance(part, list):
            return [filled(each) for each in part]
        return {name: filled(each) for name, each in part.items()} if isinstance(part, dict) else part

    return dump(filled(load_template(webhook.template)))


@cache
def load_template(file: Path) -> Any:
    """The JSON of a template, as it is at the first use. ConfigError where it is none."""
    try:
        content = json.loads(file.read_bytes())
        dump(content)                                       # NaN and half a character are read, but no receiver takes them
        return content
    except json.JSONDecodeError as error:
        raise ConfigError(f"is not JSON: {error.msg}", file=file, line=error.lineno) from error
    except RecursionError as error:
        raise ConfigError("is nested too deep", file=file) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {error}", file=file) from error


PAYLOADS: dict[str, Callable[[Webhook, Sequence[Notice]], bytes]] = {
    "alertmanager": alertmanager, "alertmanager-api": alertmanager_api, "slack": slack, "pagerduty": pagerduty,
    "template": template,
}
SINGLE = frozenset(("pagerduty", "template"))
