"""Telling others: alert events become signed HTTP deliveries, at least once, also over a kill -9.

    payloads.py    the bodies: Alertmanager v4 and API, Slack, PagerDuty, a template of one's own
    messages.py    which webhook is told what: grouping, routing, a constant webhook-id
    signature.py   Standard Webhooks headers
    outbox.py      everything that must not be lost, in a SQLite file (outbox_file.py)
    retry.py       when to try again
    guard.py       where not to connect to
    sender.py      the deliveries
    receiver.py    the other end, for the demo and for trying out
"""

from streams.webhooks.messages import Message, make_messages
from streams.webhooks.outbox import Outbox
from streams.webhooks.receiver import receive_webhooks
from streams.webhooks.sender import Sender, check_webhooks

__all__ = ["Message", "Outbox", "Sender", "check_webhooks", "make_messages", "receive_webhooks"]
