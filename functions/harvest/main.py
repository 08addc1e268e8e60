"""harvest: brings a resource from its repository into a SIP, and lists what recurring harvests have to bring."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime import run_listing, schedules
from perdura.runtime.delivery import StepRunner
from perdura.runtime.extras import harvesting
from perdura.runtime.function import Function
from perdura.steps import harvest

FUNCTION = Function(
    "harvest",
    steps={
        "org.perdura.harvest.requested.v1": StepRunner(
            "harvest", harvest.run, extras=harvesting, settle=schedules.settled, go_on=schedules.go_on
        )
    },
    requests={schedules.LIST_REQUEST: run_listing.deliver},
)


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent or a probe."""
    return FUNCTION.respond(request)
