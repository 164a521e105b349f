"""Which webhook is told what: alert events in, one message for each body that is to be delivered.

    messages = make_messages(events, rules, webhooks)

The same events give the same messages with the same webhook-id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.webhooks.payloads import PAYLOADS, SINGLE, Notice, notices

if TYPE_CHECKING:
    import pyarrow as pa

    from streams.config import Webhook
    from streams.rules import Rule

__all__ = ["Message", "make_messages"]

# As many as fit well under 1 MB with generous labels.
ALERTS_PER_MESSAGE_MAX = 100


@dataclass(frozen=True)
class Message:
    """One body for one webhook. Messages of a `lane` are delivered in order; lanes do not wait for each other."""

    webhook: str
    webhook_id: str
    lane: str
    body: bytes
    fingerprint: str = ""                   # of its alert, 16 hexadecimal digits; empty for a group of several


def make_messages(events: pa.RecordBatch, rules: Mapping[str, Rule], webhooks: Sequence[Webhook]) -> list[Message]:
    """`events` is a batch of model.ALERTS; only firing and resolved become messages."""
    told = notices(events)
    messages = []
    for webhook in webhooks:
        heard = (notice for notice in told if is_for(webhook, notice, rules.get(notice.rule)))
        for group in grouped(heard, webhook.format in SINGLE):
            body = PAYLOADS[webhook.format](webhook, group)
            fingerprint = f"{group[0].fingerprint:016x}" if len(group) == 1 else ""
            messages.append(Message(webhook.name, webhook_id(webhook.name, group), group[0].rule, body, fingerprint))
    return messages


def is_for(webhook: Webhook, notice: Notice, rule: Rule | None) -> bool:
    """A rule names its webhooks or means all; so does one that is gone and whose alerts end now."""
    return rule is None or (notice.state in rule.tells and (rule.webhooks is None or webhook.name in rule.webhooks))


def grouped(told: Iterable[Notice], is_single: bool) -> list[list[Notice]]:
    """One group a rule, in order; a new one where it is full or the same alert changes once more."""
    groups: list[list[Notice]] = []
    open_groups: dict[str, list[Notice]] = {}
    for notice in told:
        group = open_groups.get(notice.rule)
        if group is None or is_single or len(group) >= ALERTS_PER_MESSAGE_MAX or any(
            other.fingerprint == notice.fingerprint for other in group
        ):
            group = open_groups[notice.rule] = []
            groups.append(group)
        group.append(notice)
    return groups


def webhook_id(webhook: str, group: Sequence[Notice]) -> str:
    digest = hashlib.sha256("\n".join([webhook, *(notice.identity for notice in group)]).encode())
    return f"msg_{digest.hexdigest()[:32]}"
