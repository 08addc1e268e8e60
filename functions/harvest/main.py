"""harvest: brings a resource from its repository into a SIP."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime.delivery import StepRunner
from perdura.runtime.function import Function
from perdura.steps import harvest

FUNCTION = Function("harvest", steps={"org.perdura.harvest.requested.v1": StepRunner("harvest", harvest.run)})


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent or a probe."""
    return FUNCTION.respond(request)
