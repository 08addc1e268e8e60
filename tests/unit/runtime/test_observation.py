"""Traces join along `traceparent`; nothing is traced unless asked for; what leaves the house holds no secret."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from perdura import tracing
from perdura.cloudevents.build import build
from perdura.cloudevents.message import CloudEvent
from perdura.runtime import observation
from perdura.runtime.answers import Answer
from perdura.runtime.delivery import Delivered
from perdura.runtime.function import Function

memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[Any]:
    exporter = memory.InMemorySpanExporter()
    tracing.begin("ingest", "", exporter=exporter)
    yield exporter
    tracing.end()


def asked(**extensions: str) -> CloudEvent:
    at = datetime.now(UTC) - timedelta(seconds=3)
    return CloudEvent("1", "/tests", "org.perdura.notify.requested.v1", time=at, data={}, extensions=extensions)


def test_nothing_is_imported_or_made_unless_it_is_asked_for() -> None:
    code = "import sys, perdura.tracing as t, perdura.runtime.function\nwith t.span('x'): pass\n"
    code += "print([m for m in sys.modules if 'opentelemetry' in m or 'sentry' in m], t.traceparent())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] None"


def test_a_delivery_is_a_span_below_its_cause_and_what_it_emits_lies_below_it(spans: Any) -> None:
    emitted: list[CloudEvent] = []

    def handle(_: Any, event: CloudEvent) -> Delivered:
        archive = uuid4()
        data = {"archive": archive, "step": uuid4(), "attempt": 1}
        emitted.append(build("org.perdura.publish.requested.v1", data, source="/t", at=datetime.now(UTC), cause=event))
        return Delivered(Answer.DONE, emitted)

    function = Function("ingest", requests={"org.perdura.notify.requested.v1": handle})
    function._deliver(None, asked(traceparent=PARENT))  # type: ignore[arg-type]
    wait, delivery = spans.get_finished_spans()
    assert (wait.name, delivery.name) == (
        "wait org.perdura.notify.requested.v1", "ingest org.perdura.notify.requested.v1"
    )  # fmt: skip
    for span in (wait, delivery):
        assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
        assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
    assert 2.5e9 < wait.end_time - wait.start_time < 60e9
    assert delivery.attributes["http.response.status_code"] == 204
    below = emitted[0].extensions["traceparent"].split("-")
    assert below[1:3] == [PARENT.split("-")[1], f"{delivery.context.span_id:016x}"]


def test_untraced_events_carry_the_traceparent_of_their_cause_unchanged() -> None:
    data = {"archive": uuid4(), "step": uuid4(), "attempt": 1}
    made = build(
        "org.perdura.publish.requested.v1", data, source="/t", at=datetime.now(UTC), cause=asked(traceparent=PARENT)
    )
    assert made.extensions["traceparent"] == PARENT


def test_a_malformed_traceparent_begins_a_new_trace(spans: Any) -> None:
    with tracing.span("x", parent="rubbish"):
        pass
    (span,) = spans.get_finished_spans()
    assert span.parent is None


def test_statements_and_requests_are_named_without_their_values(spans: Any) -> None:
    with tracing.sql("\n UPDATE step SET state = 'running' WHERE id = 'secret'"):
        pass
    with tracing.http("GET", "https://user:secret@example.org/secret?token=secret"):
        pass
    told = [(span.name, dict(span.attributes)) for span in spans.get_finished_spans()]
    assert [name for name, _ in told] == ["UPDATE step", "GET example.org"]
    assert "secret" not in json.dumps(told)


def test_sentry_gets_the_error_and_ids_and_nothing_of_the_request() -> None:
    sentry = pytest.importorskip("sentry_sdk")
    from sentry_sdk.transport import Transport

    sent: list[Any] = []

    class Kept(Transport):  # type: ignore[misc]
        def capture_envelope(self, envelope: Any) -> None:
            sent.append(envelope.get_event())

    observation._sentry("ingest", "https://key@sentry.example.org/1", Kept)
    try:
        password = "open-sesame"  # noqa: F841 - a local variable that must not leave
        try:
            raise ValueError("it broke")
        except ValueError:
            logging.getLogger("perdura.tests").exception("unforeseen", extra={"archive": "a-1", "token": "open-sesame"})
        sentry.flush()
    finally:
        sentry.get_client().close()
        sentry.get_global_scope().set_client(None)
    (event,) = sent
    assert event["exception"]["values"][0]["value"] == "it broke"
    assert event["tags"] == {"archive": "a-1"}
    assert not {"request", "breadcrumbs", "user", "extra", "modules"} & set(event)
    assert "vars" not in json.dumps(event)


def test_secrets_are_taken_out_of_what_would_be_sent() -> None:
    event = {"message": "m", "request": {"headers": {"Authorization": "secret"}}, "breadcrumbs": ["secret"],
             "user": {"ip_address": "::1"}, "extra": {"archive": "1", "dsn": "secret"}}  # fmt: skip
    assert observation.without_secrets(event, None) == {"message": "m", "tags": {"archive": "1"}}
