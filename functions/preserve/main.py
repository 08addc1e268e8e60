"""preserve: makes an AIP that stands on its own out of an accepted SIP."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime.delivery import StepRunner
from perdura.runtime.extras import earlier_events
from perdura.runtime.function import Function
from perdura.steps import preserve

FUNCTION = Function(
    "preserve",
    steps={
        "org.perdura.preserve.requested.v1": StepRunner(
            "preserve", preserve.run, frozenset({"identifier", "scanner"}), earlier_events
        )
    },
)


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent or a probe."""
    return FUNCTION.respond(request)
