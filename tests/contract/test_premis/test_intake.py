"""CloudEvents that arrive at the log: requests to record, and what nobody took."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.engine import Engine

from perdura.cloudevents.codec import decode
from perdura.cloudevents.message import CloudEvent
from perdura.premis import intake, log
from perdura.premis.model import FAILURE, Event, Identifier, Outcome
from perdura.premis.verify_stored import verify_database
from tests.contract.test_premis.test_http import client_of

ARCHIVE = uuid.UUID("0190a1b2-0000-7000-8000-000000000001")


def _lost(**extensions: str) -> CloudEvent:
    return CloudEvent(
        id=str(uuid.uuid4()),
        source="/perdura/ingest",
        type="org.perdura.preserve.requested.v1",
        subject=f"archive/{ARCHIVE}",
        time=datetime(2024, 3, 5, tzinfo=UTC),
        data={"step": "x"},
        extensions=extensions,
    )


@pytest.mark.parametrize(
    "extensions",
    [
        {},
        {"knativeerrordest": "http://preserve.default.svc", "knativeerrorcode": "503", "knativeerrordata": "YnVzeQ=="},
        {"knativeerrorcode": "400"},
    ],
)
def test_what_nobody_took_becomes_a_failure_event_once(engine: Engine, extensions: dict[str, str]) -> None:
    lost = _lost(**extensions)
    with engine.begin() as connection:
        (recorded,) = intake.record(connection, lost)
        assert intake.record(connection, lost) == []
    with engine.connect() as connection:
        stored = log.find(connection, recorded.id)
    assert stored is not None
    assert stored.type == intake.DEAD_LETTER
    assert stored.event.outcomes[0].outcome == FAILURE
    notes = "\n".join(stored.event.outcomes[0].notes)
    assert all(f"{name}: {value}" in notes for name, value in extensions.items())
    assert str(ARCHIVE) in [each.value for each in stored.event.objects]
    assert lost.id in stored.event.details[0]


def test_a_request_to_record_that_came_back_as_a_dead_letter_is_one(engine: Engine) -> None:
    asked = CloudEvent(
        id="1",
        source="/elsewhere",
        type=intake.RECORD_REQUESTED,
        data={"events": []},
        extensions={"knativeerrorcode": "500"},
    )
    with engine.begin() as connection:
        (recorded,) = intake.record(connection, asked)
    assert recorded.type == intake.DEAD_LETTER


@pytest.mark.parametrize("mode", ["binary", "structured", "batch"])
def test_a_request_in_every_mode_records_its_events_once(engine: Engine, mode: str) -> None:

    data = {
        "events": [
            {"type": "fixity check", "date": "2024-03-05T16:39:49Z", "objects": [{"type": "ARK", "value": mode}]}
        ]
    }
    attributes = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/elsewhere",
        "type": intake.RECORD_REQUESTED,
    }
    whole = {**attributes, "datacontenttype": "application/json", "data": data}
    headers, body = {
        "binary": (
            {**{f"ce-{name}": value for name, value in attributes.items()}, "content-type": "application/json"},
            json.dumps(data),
        ),
        "structured": ({"content-type": "application/cloudevents+json"}, json.dumps(whole)),
        "batch": ({"content-type": "application/cloudevents-batch+json"}, json.dumps([whole])),
    }[mode]
    (event,) = decode(headers, body.encode())
    with engine.begin() as connection:
        assert len(intake.record(connection, event)) == 1
        assert intake.record(connection, event) == []
        assert len(log.events_of(connection, mode)) == 1


def test_a_request_with_one_wrong_event_is_recorded_as_refused_and_nothing_of_it(engine: Engine) -> None:
    data = {
        "events": [
            {"type": "a", "date": "2024-01-01", "objects": [{"type": "x", "value": "half"}]},
            {"type": "b", "date": "soon"},
        ]
    }
    asked = CloudEvent(id="2", source="/elsewhere", type=intake.RECORD_REQUESTED, data=data)
    with engine.begin() as connection:
        (recorded,) = intake.record(connection, asked)
        assert intake.record(connection, asked) == []
    assert (recorded.type, recorded.outcomes[0].outcome) == (intake.DEAD_LETTER, FAILURE)
    assert recorded.outcomes[0].notes[0].startswith("data.events[1]: eventDateTime 'soon'")
    with engine.connect() as connection:
        assert log.events_of(connection, "half") == []


@pytest.mark.parametrize("data", [None, {}, {"events": []}, {"events": {}}, [1], "text", b"\xff\0"])
def test_a_request_that_is_none_is_recorded_with_what_it_holds(engine: Engine, data: object) -> None:
    asked = CloudEvent(id=str(uuid.uuid4()), source="/elsewhere", type=intake.RECORD_REQUESTED, data=data)
    with engine.begin() as connection:
        (recorded,) = intake.record(connection, asked)
    said = "\n".join(recorded.outcomes[0].notes)
    assert "data.events: expected a list of events." in said
    assert ("/wA=" in said) is isinstance(data, bytes)


def test_dates_without_an_offset_are_in_the_zone_of_the_log(engine: Engine) -> None:
    data = {"events": [{"type": "a", "date": "2024-01-01T00:00:00"}]}
    asked = CloudEvent(id=str(uuid.uuid4()), source="/elsewhere", type=intake.RECORD_REQUESTED, data=data)
    with engine.begin() as connection:
        (recorded,) = intake.record(connection, asked, zone=ZoneInfo("America/Chicago"), identifier_type="kept")
    assert recorded.at == datetime(2024, 1, 1, 6, tzinfo=UTC)
    assert recorded.identifier_type == "kept"


def test_events_as_xml_without_an_identifier_are_recorded_once(engine: Engine) -> None:
    inner = "<!-- why --><eventType>a</eventType><eventDateTime>2024</eventDateTime>"
    xml = f"<event xmlns='info:lc/xmlns/premis-v2'>{inner}</event>"
    data = {"events": [{"xml": xml}, {"xml": xml}]}
    asked = CloudEvent(id=str(uuid.uuid4()), source="/elsewhere", type=intake.RECORD_REQUESTED, data=data)
    with engine.begin() as connection:
        first, _ = intake.record(connection, asked)
        assert intake.record(connection, asked) == []
        assert "<!-- why -->" in log.history(connection, first.id)[0].xml


@pytest.mark.parametrize("name", ["id", "source", "type", "knativeerrordest"])
def test_a_dead_letter_with_long_attributes_can_be_read_again(another: Engine, name: str) -> None:
    lost = _lost(knativeerrordest="d" * 20_000)
    if name != "knativeerrordest":
        lost = replace(lost, **{name: "x" * 11_000_000})
    with another.begin() as connection:
        (recorded,) = intake.record(connection, lost)
        stored = log.find(connection, recorded.id)
        assert stored is not None
        assert stored.event.type == intake.DEAD_LETTER
        assert verify_database(connection).findings == []


def test_what_is_in_the_log_is_read_however_long_its_values_are(another: Engine) -> None:
    long = "x" * 20_000
    own = Event(
        id=uuid.uuid4(),
        type=long,
        at=datetime(2024, 1, 1, tzinfo=UTC),
        outcomes=(Outcome(long),),
        agents=(Identifier(long, long, (long,)),),
        objects=(Identifier("local", long),),
    )
    with another.begin() as connection:
        log.append(connection, [own], actor="test")
        assert verify_database(connection).findings == []
    client = client_of(another)
    for path in (
        "/APP/event/?version=2.3",
        f"/event/{own.id}/",
        f"/event/{own.id}.json",
        f"/event/{own.id}.history.json",
    ):
        assert client.get(path).status_code == 200, path
    assert long.encode() in client.get("/event/export.ndjson").data
