"""The access log: one JSON object a line for each request but probes, without query strings, which may hold secrets."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from gunicorn.glogging import Logger

from perdura.runtime.answers import HEALTH_PATHS

_LONGEST = 300
_encode = json.JSONEncoder(ensure_ascii=False).encode
_CAUSES = (("event", "HTTP_CE_ID"), ("event_type", "HTTP_CE_TYPE"), ("trace", "HTTP_CE_TRACEPARENT"))


def line(function: str, status: str, environ: dict[str, Any], sent: int, took: timedelta) -> dict[str, object]:
    """What is written of one request."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "info",
        "function": function,
        "logger": "access",
        "method": environ.get("REQUEST_METHOD", ""),
        "path": str(environ.get("PATH_INFO", ""))[:_LONGEST],
        "status": int(status.split(None, 1)[0]),
        "bytes": sent,
        "seconds": round(took.total_seconds(), 4),
        "address": environ.get("REMOTE_ADDR", ""),
        "agent": str(environ.get("HTTP_USER_AGENT", ""))[:_LONGEST],
        **{name: str(environ[header])[:_LONGEST] for name, header in _CAUSES if header in environ},
    }


class AccessLog(Logger):  # type: ignore[misc]
    """gunicorn's logger, whose access log is JSON on standard error; `ACCESS_LOG=off` leaves it out."""

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:  # noqa: ARG002
        """Write one line, unless the request was a probe."""
        if os.environ.get("ACCESS_LOG", "on") == "off" or environ.get("PATH_INFO") in HEALTH_PATHS:
            return
        function = os.environ.get("FUNCTION", "perdura")
        told = line(function, str(resp.status), environ, getattr(resp, "sent", 0) or 0, request_time)
        sys.stderr.write(_encode(told) + "\n")
