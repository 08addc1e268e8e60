"""relay: emits what was committed but not heard, and does the recurring duties."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime import relay
from perdura.runtime.function import Function

FUNCTION = Function("relay", tick=relay.tick)


def handle(request: Request) -> Response:
    """Answer one request: a tick or a probe."""
    return FUNCTION.respond(request)
