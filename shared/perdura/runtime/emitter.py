"""Emission: CloudEvents that were committed to the outbox are posted to the broker once the response is sent."""

from __future__ import annotations

import json
import logging
import os
import ssl
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response

from perdura import tracing
from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from perdura.registry import outbox
from perdura.runtime import faults, metrics
from perdura.settings import Settings

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)
_TOKEN = Path("/oidc/token")


def _trusted(certificates: str | None) -> ssl.SSLContext:
    """Trust in the public authorities, and in these as well (PEM), as a SinkBinding gives those of the cluster."""
    context = ssl.create_default_context()
    if certificates:
        context.load_verify_locations(cadata=certificates)
    return context


class Emitter:
    """Posts events to `K_SINK`, honouring what a Knative SinkBinding injects (serverless.md 1.9).

    `K_CE_OVERRIDES` adds extensions, `K_CA_CERTS` trusted certificates, `/oidc/token` the identity of the sender.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self.sink = os.environ.get("K_SINK")
        self._extensions: dict[str, str] = json.loads(os.environ.get("K_CE_OVERRIDES") or "{}").get("extensions", {})
        self._timeout = settings.emit_timeout

    @cached_property
    def _client(self) -> httpx.Client:
        # Imported when first needed: a cold start does not wait for an HTTP client.
        import httpx

        return httpx.Client(
            verify=_trusted(os.environ.get("K_CA_CERTS")),
            timeout=self._timeout,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=8),
        )

    def post(self, event: CloudEvent) -> str | None:
        """Post one event; None when the broker took it, else what went wrong."""
        error = self._post(event)
        metrics.add(metrics.EMISSIONS, result="left" if error else "taken")
        return error

    def _post(self, event: CloudEvent) -> str | None:
        if self.sink is None:
            return "no K_SINK is configured"
        headers, body = encode_binary(event)
        headers.update({f"ce-{name}": value for name, value in self._extensions.items()})
        if _TOKEN.exists():
            headers["Authorization"] = f"Bearer {_TOKEN.read_text().strip()}"
        from httpx import HTTPError

        try:
            parent = event.extensions.get("traceparent")
            with tracing.span(f"send {event.type}", tracing.Kind.PRODUCER, {"messaging.message.id": event.id}, parent):
                answer = self._client.post(self.sink, headers=headers, content=body)
        except HTTPError as error:
            return f"{type(error).__name__}: {error}"
        return None if answer.is_success else f"the broker answered {answer.status_code}"

    def emit(self, events: Sequence[CloudEvent]) -> None:
        """Post events and note which were taken; whatever fails here is left to the relay, all where no sink is."""
        if self.sink is None:
            return
        taken = []
        for event in events:
            error = self.post(event)
            if error is None:
                taken.append(event.id)
            else:
                _log.warning("left to the relay: %s", error, extra={"event": event.id, "event_type": event.type})
        if not taken:
            return
        try:
            with self._engine.begin() as connection:
                outbox.delivered(connection, taken)
        except SQLAlchemyError as error:
            _log.warning("delivered events could not be marked: %s", type(error).__name__)

    def after_response(self, response: Response, events: Sequence[CloudEvent]) -> Response:
        """Emit `events` once `response` has been sent to its client."""
        if not events:
            return response

        def after() -> None:
            faults.reach("after-response")
            self.emit(events)
            faults.reach("after-emission")

        response.call_on_close(after)
        return response
