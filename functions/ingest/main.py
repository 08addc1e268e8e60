"""ingest: verifies a SIP where it lies in the object store and accepts or rejects it."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime.delivery import StepRunner
from perdura.runtime.function import Function
from perdura.runtime.units import UnitRunner
from perdura.steps import ingest, ingest_units

FUNCTION = Function(
    "ingest",
    steps={"org.perdura.ingest.requested.v1": StepRunner("ingest", ingest.run)},
    units={"org.perdura.ingest.requested.v1": UnitRunner("ingest", ingest_units.run)},
    notifications=True,
)


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent, a storage notification, a probe."""
    return FUNCTION.respond(request)
