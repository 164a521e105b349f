"""What reaches the log of a role."""

from __future__ import annotations

import logging

from streams.cli.logs import LINES_MAX, REPEAT_S, Seldom


def line(name: str, message: str, at_s: float) -> logging.LogRecord:
    return logging.makeLogRecord({"name": name, "msg": message, "created": at_s})


def test_repeated_lines_of_a_library_come_through_seldom_and_ours_always():
    seldom = Seldom()
    away = "Unable to update metadata from %s"
    times = [at_s / 100 for at_s in range(100, 100 * 3 * REPEAT_S)]
    assert sum(map(seldom.filter, (line("aiokafka", away, at_s) for at_s in times))) == 3
    assert all(seldom.filter(line("streams.kafka", "waiting", at_s)) for at_s in times)
    assert seldom.filter(line("aiokafka", "something else", times[-1]))


def test_lines_that_never_repeat_come_through_and_do_not_pile_up():
    seldom = Seldom()
    assert all(seldom.filter(line("aiokafka", f"request {number}", 1.0)) for number in range(3 * LINES_MAX))
    assert len(seldom.said_at_s) <= LINES_MAX
