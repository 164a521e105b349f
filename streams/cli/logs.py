"""Log lines on stderr, for people or for machines."""

from __future__ import annotations

import json
import logging
import os
import sys

from streams.clock import format_time

__all__ = ["set_up_logging"]


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
    """Our own loggers from `level` up, others' from WARNING, one line each on stderr. $ORBITRACK_LOG_LEVEL wins."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if log_format == "json" else text)
    # Each of our retries says the same with the try and the pause.
    handler.addFilter(lambda record: not (record.name == "aiokafka" and "Unable connect" in record.getMessage()))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in ("urllib3.connectionpool", "clickhouse_connect"):      # our DependencyError says it once, and plainly
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("streams").setLevel(os.environ.get("ORBITRACK_LOG_LEVEL", level))
