"""archive-cta: puts an AIP on tape, proves that it is there, and brings it back."""

from collections.abc import Sequence

from flask import Request
from werkzeug.wrappers import Response

from perdura.cloudevents.message import CloudEvent
from perdura.runtime.delivery import StepRunner, poll_waiting
from perdura.runtime.environment import Environment
from perdura.runtime.function import Function
from perdura.steps import archive, recall

NAME = "archive-cta"
TAPE = frozenset({"tape"})


def look_again(environment: Environment) -> Sequence[CloudEvent]:
    """Look at all archivings and recalls that wait for the tape system."""
    archived = poll_waiting(environment, NAME, "archive", archive.poll, TAPE)
    return archived + poll_waiting(environment, NAME, "recall", recall.poll, TAPE)


FUNCTION = Function(
    NAME,
    steps={
        "org.perdura.archive.requested.v1": StepRunner(NAME, archive.run, TAPE),
        "org.perdura.recall.requested.v1": StepRunner(NAME, recall.run, TAPE),
    },
    tick=look_again,
)


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent, a tick or a probe."""
    return FUNCTION.respond(request)
