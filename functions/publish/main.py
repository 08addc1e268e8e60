"""publish: makes a preserved Archive findable and usable, and serves the built-in access pages."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime.answers import HEALTH_PATHS
from perdura.runtime.delivery import StepRunner
from perdura.runtime.function import Function
from perdura.steps import publish
from perdura.web import access

FUNCTION = Function("publish", steps={"org.perdura.publish.requested.v1": StepRunner("publish", publish.run)})


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent, a probe, or a reader of the access pages."""
    if request.method in {"GET", "HEAD"} and request.path not in HEALTH_PATHS:
        return access.respond(request)
    return FUNCTION.respond(request)
