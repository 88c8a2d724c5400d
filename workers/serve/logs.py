"""The server's log: one line of JSON for each request, warning and error."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Log = Callable[[dict[str, Any]], object]


def to_stderr(line: dict[str, Any]) -> None:
    """Write ``line`` as JSON to standard error, with the time as its first entry."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"time": now, **line}), file=sys.stderr, flush=True)


def exposure_warning(host: str) -> dict[str, str]:
    """The log's line for a server that other machines can reach."""
    message = f"listening on {host}: any client that reaches this machine can use the model, "
    return {"level": "warning", "message": message + "without encryption"}


def log_errors_as_json(log: Log) -> None:
    """Send the errors that any library of this process logs to ``log``, as lines of JSON."""
    logging.basicConfig(level=logging.ERROR, handlers=[_JsonHandler(log)], force=True)


class _JsonHandler(logging.Handler):
    def __init__(self, log: Log):
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        line = {"level": record.levelname.lower(), "message": record.getMessage().strip()}
        if record.exc_info:
            line["error"] = logging.Formatter().formatException(record.exc_info)
        self._log(line)
