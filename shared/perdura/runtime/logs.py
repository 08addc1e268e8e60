"""Logs: one JSON object a line on standard error, with the ids of what is worked on and never a secret."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_FIELDS = ("archive", "step", "event", "event_type", "emitted", "outcome", "code", "seconds", "statements")


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; an exception becomes its type, message and trace."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self._function = function

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "function": self._function,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: _plain(vars(record)[name]) for name in _FIELDS if name in vars(record)})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _plain(value: object) -> object:
    return value if isinstance(value, int | float) else str(value)


def configure(function: str, level: str) -> None:
    """Send all logging of this process through one JSON handler."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(function))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("perdura").setLevel(logging.INFO)
