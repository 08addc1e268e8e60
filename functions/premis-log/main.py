"""premis-log: the PREMIS log over HTTP, and the place where events and dead letters arrive as CloudEvents."""

import json
import logging
from collections.abc import Sequence
from functools import cache
from zoneinfo import ZoneInfo

from sqlalchemy import Connection
from werkzeug.wrappers import Request, Response

from perdura.cloudevents.build import from_json
from perdura.cloudevents.catalogue import CATALOGUE
from perdura.cloudevents.message import CloudEvent
from perdura.premis import intake, service
from perdura.premis.model import Event
from perdura.runtime import dead_letters, direct, faults, metrics
from perdura.runtime.answers import HEALTH_PATHS
from perdura.runtime.environment import Environment, environment
from perdura.runtime.function import Function
from perdura.runtime.recording import announcement_json, tell

_log = logging.getLogger(__name__)


def record(surroundings: Environment, event: CloudEvent) -> Sequence[CloudEvent]:
    """Record what a CloudEvent asks for, or that it could not be delivered and nobody asks for it again."""
    faults.reach("before-effect")
    lost = intake.is_dead_letter(event)
    with surroundings.engine.begin() as connection:
        if lost and dead_letters.asked_again(connection, event):
            _log.warning("given up by the broker", extra={"event": event.id, "event_type": event.type})
            told = []
        else:
            settings = surroundings.settings
            zone, identifier_type = ZoneInfo(settings.premis_zone), settings.premis_identifier_type
            told = tell(connection, intake.record(connection, event, zone=zone, identifier_type=identifier_type), event)
        faults.reach("after-effect")
    faults.reach("after-commit")
    if lost:
        metrics.add(metrics.DEAD_LETTERS, type=event.type if event.type in CATALOGUE else metrics.OTHER)
    return told


FUNCTION = Function("premis-log", intake=record)


@cache
def _door() -> service.Door:
    from perdura.api.log_door import LogDoor  # probes and CloudEvents do not pay for importing it

    return LogDoor(environment())


def handle(request: Request) -> Response:
    """Answer one request: a CloudEvent or a probe at `/`, everything else is the log's own interface."""
    if request.path in HEALTH_PATHS or (request.path == "/" and request.method in ("POST", "OPTIONS")):
        return FUNCTION.respond(request)
    surroundings = environment()
    told: list[CloudEvent] = []

    def one(event: Event) -> str:
        written = announcement_json(event)
        if surroundings.emitter.sink is not None:
            told.append(from_json(json.loads(written)))
        return written

    def many(connection: Connection, events: list[Event]) -> None:
        told.extend(tell(connection, events))

    response = service.respond(
        request,
        surroundings.engine,
        surroundings.settings,
        telling=service.Telling(one, many),
        door=_door(),
    )
    return surroundings.emitter.after_response(response, told if response.status_code < 300 else [])


direct.serve(handle)
