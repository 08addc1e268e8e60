"""A function: the HTTP signature of functions-framework around a step (architecture §3; serverless.md 3.1).

A function's `main.py` makes one `Function`, says which CloudEvent types it takes and what runs for each, and hands
every request to `respond`. Nothing of delivery is left to a step's author.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from pydantic import SecretStr, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Request, Response

from perdura import tracing
from perdura.cloudevents import s3_notifications
from perdura.cloudevents.catalogue import CATALOGUE, TICK, HarvestRequested, IngestRequested, StepRequested
from perdura.cloudevents.codec import NotACloudEvent, decode
from perdura.cloudevents.message import CloudEvent
from perdura.database import passing
from perdura.errors import Rejected, Retryable
from perdura.runtime import metrics, statements
from perdura.runtime.admission import admit_harvest, admit_ingest, arrived
from perdura.runtime.answers import Answer, answer, problem, without_event
from perdura.runtime.delivery import Delivered, StepRunner
from perdura.runtime.environment import Environment, environment
from perdura.runtime.units import UnitRunner

_log = logging.getLogger(__name__)

OURS = "org.perdura."
"""What the types of our own CloudEvents begin with."""

Tick = Callable[[Environment], Sequence[CloudEvent]]
Intake = Callable[[Environment, CloudEvent], Sequence[CloudEvent]]
Handler = Callable[[Environment, CloudEvent], Delivered]


class Function:
    """One deployable: its name, the steps (and units of them) it runs by CloudEvent type, what it does at a tick.

    `requests` handles CloudEvents that ask for something else than a step of an Archive, by type. `intake` takes other
    CloudEvents, those of the types that it `takes` or any; `notifications` lets storage notifications in.
    """

    def __init__(
        self,
        name: str,
        *,
        steps: Mapping[str, StepRunner] | None = None,
        units: Mapping[str, UnitRunner] | None = None,
        requests: Mapping[str, Handler] | None = None,
        tick: Tick | None = None,
        intake: Intake | None = None,
        takes: Collection[str] | None = None,
        notifications: bool = False,
    ) -> None:
        self.name = name
        self.steps = dict(steps or {})
        self._units = dict(units or {})
        self._requests = dict(requests or {})
        unknown = {*self.steps, *self._requests} - set(CATALOGUE)
        if unknown:
            raise ValueError(f"not in the catalogue: {sorted(unknown)}")
        self._tick = tick
        self._intake = intake
        self._takes = takes
        self._notifications = notifications

    @property
    def taken(self) -> frozenset[str] | None:
        """The types that it does something with, ticks and storage notifications apart; None for any."""
        if self._intake is not None and self._takes is None:
            return None
        return frozenset({*self.steps, *self._requests, *(self._takes or ())})

    @property
    def ticks(self) -> bool:
        """Whether it does something at a tick."""
        return self._tick is not None

    def respond(self, request: Request) -> Response:
        """Answer one request. Only what is no CloudEvent gets a 4xx: some brokers drop those silently."""
        without = without_event(request)
        if without is not None:
            return without
        surroundings = environment()
        if not surroundings.settings.takes_events:
            return problem(403, "No CloudEvents are taken here")
        notified = self._notifications and request.path == "/s3"
        if not notified and not _may_send(request, surroundings.settings.events_token):
            return problem(401, "Not authenticated")
        statements.restart()
        begun = time.monotonic()
        body = _body(request, surroundings.settings.body_limit)
        if body is None:
            return problem(413, "Content too large")
        if notified:
            return self._notified(request, body, surroundings, begun)
        try:
            events = decode(dict(request.headers), body, keep_malformed_data=self.taken is None)
        except NotACloudEvent as error:
            return problem(400, "Not a CloudEvent", error.message)
        delivered = [self._deliver(surroundings, event) for event in events]
        return self._answer(delivered, surroundings, begun, {event.type for event in events})

    def _answer(
        self, results: Sequence[Delivered], surroundings: Environment, begun: float, types: Collection[str]
    ) -> Response:
        worst = max((result.answer for result in results), default=Answer.DONE)
        wait = max((result.retry_after or 0 for result in results), default=0)
        events = [event for result in results for event in result.events]
        response = answer(worst, wait or None)
        if not events:
            return response

        def measured() -> None:
            seconds = round(time.monotonic() - begun, 4)
            figures = {
                "statements": statements.counted(),
                "seconds": seconds,
                "event_type": ", ".join(sorted(types)),
                "emitted": ", ".join(sorted({event.type for event in events})),
            }
            _log.info("answered %d, emitted %d", worst, len(events), extra=figures)

        surroundings.emitter.after_response(response, events).call_on_close(measured)
        return response

    def _deliver(self, surroundings: Environment, event: CloudEvent) -> Delivered:
        begun = time.monotonic()
        delivered = self._traced(surroundings, event) if tracing.enabled() else self._understood(surroundings, event)
        kind = event.type if event.type in CATALOGUE else metrics.OTHER
        metrics.add(metrics.EVENTS, type=kind, answer=str(int(delivered.answer)))
        metrics.observe(metrics.EVENT_SECONDS, time.monotonic() - begun, type=kind)
        return delivered

    def _traced(self, surroundings: Environment, event: CloudEvent) -> Delivered:
        parent = event.extensions.get("traceparent")
        about = {"messaging.message.id": event.id, "perdura.subject": event.subject or ""}
        if event.time is not None and event.type != TICK:
            tracing.waited(f"wait {event.type}", event.time, parent, about)
        with tracing.span(f"{self.name} {event.type}", tracing.Kind.CONSUMER, about, parent) as span:
            delivered = self._understood(surroundings, event)
            span.set_attribute("http.response.status_code", int(delivered.answer))
            return delivered

    def _understood(self, surroundings: Environment, event: CloudEvent) -> Delivered:
        try:
            return self._dispatch(surroundings, event)
        except (Rejected, ValidationError) as error:
            # A request that cannot be understood will not be the next time either: acknowledged, and logged.
            _log.warning("refused: %s", error, extra={"event": event.id, "event_type": event.type})
            return Delivered(Answer.DONE)
        except Retryable as error:
            _log.warning("%s", error.message, extra={"event": event.id, "code": error.code})
            return Delivered(Answer.UNAVAILABLE, retry_after=error.retry_after)
        except SQLAlchemyError as error:
            if passing(error):
                _log.warning("database unavailable: %s", type(error).__name__, extra={"event": event.id})
                return Delivered(Answer.UNAVAILABLE, retry_after=5)
            _log.exception("unforeseen", extra={"event": event.id, "event_type": event.type})
            return Delivered(Answer.BROKEN)

    def _dispatch(self, surroundings: Environment, event: CloudEvent) -> Delivered:
        if event.type == TICK and self._tick is not None:
            return Delivered(Answer.DONE, self._tick(surroundings))
        handler = self._requests.get(event.type)
        if handler is not None:
            return handler(surroundings, event)
        runner = self.steps.get(event.type)
        if runner is None:
            return self._other(surroundings, event)
        data = CATALOGUE[event.type].data.model_validate(event.data)
        match data:
            case HarvestRequested(step=None):
                return Delivered(Answer.DONE, admit_harvest(surroundings, event, data))
            case IngestRequested(step=None):
                return Delivered(Answer.DONE, admit_ingest(surroundings, data))
            case IngestRequested(step=UUID() as step, unit=str() as unit):
                return self._unit(surroundings, event, step, unit)
            case HarvestRequested() | IngestRequested() | StepRequested():
                if data.step is None:
                    raise Rejected("The request names no step.", code="incomplete-request")
                return runner.deliver(surroundings, event, data.step)
            case _:
                raise Rejected(f"{event.type} asks for no step.", code="impossible-request")

    def _unit(self, surroundings: Environment, event: CloudEvent, step: UUID, unit: str) -> Delivered:
        runner = self._units.get(event.type)
        if runner is None:
            raise Rejected(f"{event.type} has no units here.", code="impossible-request")
        return runner.deliver(surroundings, event, step, unit)

    def _other(self, surroundings: Environment, event: CloudEvent) -> Delivered:
        if self._intake is not None and (self._takes is None or event.type in self._takes):
            return Delivered(Answer.DONE, self._intake(surroundings, event))
        if self._notifications and s3_notifications.is_notification(_context(event), event.data):
            return self._arrivals(surroundings, _context(event), event.data)
        if event.type.startswith(OURS):
            # A Trigger is newer than this revision: acknowledged here, what it asks for would be lost.
            raise Retryable(f"This version does not know {event.type}.", code="other-version", retry_after=5)
        _log.info("not for this function", extra={"event": event.id, "event_type": event.type})
        return Delivered(Answer.DONE)

    def _notified(self, request: Request, body: bytes, surroundings: Environment, begun: float) -> Response:
        expected = surroundings.settings.s3_notification_token
        if expected is None or not _bears(request, expected.get_secret_value()):
            return problem(401, "Not authenticated")
        try:
            told = json.loads(body or b"null")
        except ValueError:
            return problem(400, "Not JSON")
        try:
            result = self._arrivals(surroundings, dict(request.headers), told)
        except Rejected as error:
            return problem(400, "Not a storage notification", error.message)
        except (Retryable, SQLAlchemyError) as error:
            if isinstance(error, SQLAlchemyError) and not passing(error):
                _log.exception("unforeseen, in a storage notification")
                return answer(Answer.BROKEN)
            _log.warning("notification not taken: %s", type(error).__name__)
            return answer(Answer.UNAVAILABLE, 5)
        return self._answer([result], surroundings, begun, ["notification"])

    def _arrivals(self, surroundings: Environment, headers: Mapping[str, str], told: Any) -> Delivered:
        events: list[CloudEvent] = []
        for stored in s3_notifications.normalise(headers, told):
            events += arrived(surroundings, stored.bucket, stored.key)
        return Delivered(Answer.DONE, events)


def _may_send(request: Request, tokens: SecretStr | None) -> bool:
    """Whether a CloudEvent of this request is taken: any is where no token is asked for."""
    return tokens is None or any(_bears(request, token) for token in tokens.get_secret_value().split())


def _bears(request: Request, token: str) -> bool:
    return hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode())


def _context(event: CloudEvent) -> dict[str, str]:
    """The attributes of a CloudEvent as the headers of binary mode: what the normaliser reads."""
    attributes = {"ce-type": event.type, "ce-source": event.source, "ce-id": event.id}
    return attributes | ({"ce-subject": event.subject} if event.subject else {})


def _body(request: Request, limit: int) -> bytes | None:
    """The body, or None when it is larger than `limit`; at most `limit` + 1 bytes are ever held."""
    if request.content_length is not None and request.content_length > limit:
        return None
    try:
        body = request.stream.read(limit + 1)
    except ClientDisconnected:
        return b""
    return None if len(body) > limit else body
