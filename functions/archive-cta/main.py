"""archive-cta: puts an AIP on tape, proves that it is there, and brings it back."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime import tape
from perdura.runtime.delivery import StepRunner
from perdura.runtime.function import Function
from perdura.steps import archive, recall

FUNCTION = Function(
    tape.NAME,
    steps={
        "org.perdura.archive.requested.v1": StepRunner(tape.NAME, archive.run, tape.NEEDS),
        "org.perdura.recall.requested.v1": StepRunner(tape.NAME, recall.run, tape.NEEDS),
    },
    tick=tape.tick,
)


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent, a tick or a probe."""
    return FUNCTION.respond(request)
