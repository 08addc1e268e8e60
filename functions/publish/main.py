"""publish: makes a preserved Archive findable and usable, and serves the built-in access pages, and tells Sources."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime import notices
from perdura.runtime.answers import HEALTH_PATHS, probe
from perdura.runtime.delivery import StepRunner
from perdura.runtime.function import Function
from perdura.steps import notify, publish, withdraw

ACCESS = frozenset({"placements"})
FUNCTION = Function(
    "publish",
    steps={
        "org.perdura.publish.requested.v1": StepRunner("publish", publish.run, ACCESS),
        "org.perdura.withdraw.requested.v1": StepRunner("publish", withdraw.run, ACCESS),
        "org.perdura.notify.requested.v1": StepRunner("publish", notify.run, ACCESS),
    },
    intake=notices.plan,
    takes=notices.FACTS,
)


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent, a probe (before the pages are imported), or a reader of the access pages."""
    if request.path in HEALTH_PATHS:
        return probe(request, then_import="perdura.web.access")
    if request.method in {"GET", "HEAD"}:
        from perdura.web import access

        return access.respond(request)
    return FUNCTION.respond(request)
