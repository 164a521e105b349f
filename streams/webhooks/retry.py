"""When to try again. Pure: time and randomness are handed in.

A message that failed waits a random time up to a bound that doubles ("full jitter", AWS Architecture Blog 2015), at least
as long as Retry-After says. A webhook that failed CIRCUIT_FAILURES times in a row is left alone for a while, longer each
time; then one message tries. When it gets through, all that wait for this webhook are due.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random

from streams.clock import NS

__all__ = ["CIRCUIT_FAILURES", "circuit_pause_ns", "is_permanent", "retry_after_ns", "retry_pause_ns"]

RETRY_BASE_NS = 1 * NS
RETRY_MAX_NS = 300 * NS
RETRY_AFTER_MAX_NS = 86_400 * NS
CIRCUIT_FAILURES = 5
CIRCUIT_BASE_NS = 5 * NS
CIRCUIT_MAX_NS = 120 * NS
# The body is refused, or the receiver is gone for good: sending the same bytes again cannot help.
PERMANENT = frozenset((400, 410, 413, 415, 422))


def retry_pause_ns(attempts: int, dice: Random) -> int:
    """Before the next attempt, `attempts` of which have failed."""
    bound_ns = min(RETRY_MAX_NS, RETRY_BASE_NS << min(attempts - 1, 30))
    return dice.randrange(bound_ns)


def circuit_pause_ns(failures: int) -> int:
    """How long a webhook with so many failures in a row is left alone; 0 below CIRCUIT_FAILURES."""
    beyond = failures - CIRCUIT_FAILURES
    return 0 if beyond < 0 else min(CIRCUIT_MAX_NS, CIRCUIT_BASE_NS << min(beyond, 30))


def retry_after_ns(header: str | None, now_ns: int) -> int:
    """Retry-After (RFC 9110 §10.2.3): seconds or a date; 0 where it is absent or unreadable; at most a day."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]) * NS, RETRY_AFTER_MAX_NS)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return min(max(0, round(when.timestamp()) * NS - now_ns), RETRY_AFTER_MAX_NS)


def is_permanent(status: int | None) -> bool:
    return status in PERMANENT
