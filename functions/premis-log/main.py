"""premis-log: the PREMIS log over HTTP, and the place where events and dead letters arrive as CloudEvents."""

from collections.abc import Sequence

from flask import Request
from werkzeug.wrappers import Response

from perdura.cloudevents.message import CloudEvent
from perdura.premis import intake, service
from perdura.runtime.answers import HEALTH_PATHS
from perdura.runtime.environment import Environment, environment
from perdura.runtime.function import Function


def record(surroundings: Environment, event: CloudEvent) -> Sequence[CloudEvent]:
    """Record what a CloudEvent asks for, or that it could not be delivered."""
    with surroundings.engine.begin() as connection:
        intake.record(connection, event)
    return ()


FUNCTION = Function("premis-log", intake=record)


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent or a probe at `/`, everything else is the log's own interface."""
    if request.path in HEALTH_PATHS or (request.path == "/" and request.method in ("POST", "OPTIONS")):
        return FUNCTION.respond(request)
    surroundings = environment()
    return service.respond(request, surroundings.engine, surroundings.settings)
