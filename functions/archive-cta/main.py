"""archive-cta: puts an AIP on tape, proves that it is there, and brings it back."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime.delivery import StepRunner, poll_waiting
from perdura.runtime.function import Function
from perdura.steps import archive

TAPE = frozenset({"tape"})
FUNCTION = Function(
    "archive-cta",
    steps={"org.perdura.archive.requested.v1": StepRunner("archive-cta", archive.run, TAPE)},
    tick=lambda environment: poll_waiting(environment, "archive-cta", "archive", archive.poll, TAPE),
)


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent, a tick or a probe."""
    return FUNCTION.respond(request)
