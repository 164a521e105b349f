"""Log lines on stderr, for people or for machines."""

from __future__ import annotations

import json
import logging
import os
import sys

from streams.clock import format_time

__all__ = ["set_up_logging"]

REPEAT_S = 30
LINES_MAX = 1000


class Seldom(logging.Filter):
    """Lets a line of somebody else's library through once in REPEAT_S: while a broker is away aiokafka says the same things
    a hundred times a second, and would fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self.said_at_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("streams"):
            return True
        line = record.name, str(record.msg)
        if record.created - self.said_at_s.get(line, -REPEAT_S) < REPEAT_S:
            return False
        if len(self.said_at_s) >= LINES_MAX:              # messages that were put together before they were logged
            self.said_at_s.clear()
        self.said_at_s[line] = record.created
        return True


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": format_time(int(record.created * 1e9), digits=6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(log_format: str, level: int = logging.INFO) -> None:
    """Our own loggers from `level` up, others' from WARNING and seldom, one line each on stderr.

    $ORBITRACK_LOG_LEVEL wins, if there is such a level.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if log_format == "json" else text)
    # Each of our retries says the same with the try and the pause.
    handler.addFilter(lambda record: not (record.name == "aiokafka" and "Unable connect" in record.getMessage()))
    handler.addFilter(Seldom())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in ("urllib3.connectionpool", "clickhouse_connect"):      # our DependencyError says it once, and plainly
        logging.getLogger(name).setLevel(logging.CRITICAL)
    wanted, known = os.environ.get("ORBITRACK_LOG_LEVEL", ""), logging.getLevelNamesMapping()
    ours = logging.getLogger("streams")
    ours.setLevel(known.get(wanted.upper(), level))
    if wanted and wanted.upper() not in known:
        ours.warning("ORBITRACK_LOG_LEVEL: there is no level '%s'; DEBUG, INFO, WARNING or ERROR", wanted)
