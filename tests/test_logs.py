"""What reaches the log of a role."""

from __future__ import annotations

import logging

import pytest

from streams.cli.logs import LINES_MAX, REPEAT_S, Seldom, set_up_logging


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


@pytest.mark.parametrize(("wanted", "level", "said"), [
    ("debug", logging.DEBUG, ""), ("ERROR", logging.ERROR, ""), ("", logging.INFO, ""),
    ("loud", logging.INFO, "ORBITRACK_LOG_LEVEL: there is no level 'loud'; DEBUG, INFO, WARNING or ERROR"),
])
def test_level_of_the_environment_wins_and_a_wrong_one_is_said(
    wanted: str, level: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, root = logging.getLogger("streams"), logging.getLogger()
    before = ours.level, root.level, root.handlers[:]
    monkeypatch.setenv("ORBITRACK_LOG_LEVEL", wanted)
    try:
        set_up_logging("text")
        assert ours.level == level
    finally:
        ours.setLevel(before[0])
        root.setLevel(before[1])
        root.handlers[:] = before[2]
    assert said in capsys.readouterr().err
