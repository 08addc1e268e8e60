"""Statements and operations of the object store are spans of the delivery that made them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from urllib3 import HTTPResponse

from perdura import prepared, tracing
from perdura.runtime.statements import count_on, counted, restart
from perdura.settings import Settings
from perdura.storage.endpoint import new_client

memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


@pytest.fixture
def spans() -> Iterator[Any]:
    exporter = memory.InMemorySpanExporter()
    tracing.begin("ingest", "", exporter=exporter)
    yield exporter
    tracing.end()


def test_statements_lie_below_the_delivery_also_those_that_fail(spans: Any, database_url: str) -> None:
    engine = count_on(create_engine(database_url))
    with tracing.span("delivery"), engine.connect() as connection:
        connection.execute(text("SELECT id FROM archive WHERE title = :title"), {"title": "secret"})
        with pytest.raises(SQLAlchemyError):
            connection.execute(text("SELECT nothing FROM nowhere"))
    engine.dispose()
    *made, delivery = spans.get_finished_spans()
    named = {span.name: span for span in made}
    assert {"SELECT archive", "SELECT nowhere"} <= set(named)
    assert all(span.parent.span_id == delivery.context.span_id for span in made)
    assert named["SELECT archive"].status.is_unset
    assert not named["SELECT nowhere"].status.is_ok
    assert not named["SELECT nowhere"].events, "messages of the database hold values"
    assert "secret" not in str([span.to_json() for span in made])


def test_prepared_statements_are_traced_too_and_tell_no_values(spans: Any, database_url: str) -> None:
    engine = count_on(create_engine(database_url))
    restart()
    with tracing.span("delivery"), engine.connect() as connection:
        assert prepared.run(connection, "SELECT %s || title FROM archive LIMIT 0", ["secret"]) == []
        with pytest.raises(SQLAlchemyError, match="secret"):
            prepared.run(connection, "SELECT CAST(%s AS int) FROM archive", ["secret"])
    engine.dispose()
    good, bad, delivery = spans.get_finished_spans()
    assert [good.name, bad.name] == ["SELECT archive", "SELECT archive"]
    assert good.status.is_unset
    assert bad.status.description == "DatabaseError"
    assert good.parent.span_id == bad.parent.span_id == delivery.context.span_id
    assert counted() == 2
    assert "secret" not in good.to_json() + bad.to_json()


def test_operations_of_the_store_lie_below_the_delivery_also_those_that_fail(spans: Any) -> None:
    settings = Settings(s3_endpoint="http://127.0.0.1:9", s3_access_key="a", s3_secret_key="b")  # type: ignore[arg-type]
    client = new_client(settings, settings.s3_endpoint)
    answers = iter((200, 404))
    client.meta.events.register(
        "before-send.s3",
        lambda **_: AWSResponse(
            "http://127.0.0.1:9", next(answers), {}, HTTPResponse(io.BytesIO(), preload_content=False)
        ),
    )
    with tracing.span("delivery"):
        client.head_object(Bucket="b", Key="secret")
        with pytest.raises(client.exceptions.ClientError):
            client.head_object(Bucket="b", Key="secret")
    first, second, delivery = spans.get_finished_spans()
    assert [first.name, second.name] == ["S3 HeadObject"] * 2
    assert first.parent.span_id == second.parent.span_id == delivery.context.span_id
    assert "secret" not in first.to_json() + second.to_json()


def test_a_client_made_while_nothing_is_traced_costs_nothing(database_url: str) -> None:
    engine = count_on(create_engine(database_url))
    assert len(engine.dispatch.before_cursor_execute) == 1
    engine.dispose()
