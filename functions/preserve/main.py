"""preserve: makes an AIP that stands on its own out of an accepted SIP, and reads stored ones again."""

from collections.abc import Sequence

from flask import Request
from werkzeug.wrappers import Response

from perdura.cloudevents.message import CloudEvent
from perdura.runtime import archivematica
from perdura.runtime.admission import admit_fixity
from perdura.runtime.delivery import StepRunner
from perdura.runtime.environment import Environment
from perdura.runtime.extras import of_preserve, of_verify
from perdura.runtime.function import Function
from perdura.runtime.polling import poll_waiting
from perdura.steps import preserve, verify
from perdura.steps.preserve_outsized import REQUESTED as OUTSIZED

NAME = "preserve"


def look_again(environment: Environment) -> Sequence[CloudEvent]:
    """Look at everything that waits for an Archivematica."""
    archivematica.probe(environment)
    return poll_waiting(environment, NAME, "preserve", preserve.poll, frozenset({"fleet"}))


RUNNER = StepRunner(NAME, preserve.run, frozenset({"identifier", "scanner", "fleet"}), of_preserve)

FUNCTION = Function(
    NAME,
    steps={
        "org.perdura.preserve.requested.v1": RUNNER,
        OUTSIZED: RUNNER,
        "org.perdura.verify.requested.v1": StepRunner(NAME, verify.run, extras=of_verify),
    },
    requests={"org.perdura.fixity.requested.v1": admit_fixity},
    tick=look_again,
    intake=archivematica.stored,
    takes={archivematica.STORED},
)


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent, a tick, a callback of a Storage Service or a probe."""
    return FUNCTION.respond(request)
