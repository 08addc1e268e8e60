"""PREMIS 1, 2 and 3 into each other: what every version can hold survives any way through them."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from perdura.premis.json_form import event_from_json, event_to_json
from perdura.premis.model import Event, Identifier, Outcome
from perdura.premis.rows import leaf
from perdura.premis.xml import event_from, event_xml
from perdura.premis.xml.names import V1_1, V2

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), min_size=1
).map(lambda text: text.strip(" \t\r\n")).filter(bool)  # fmt: skip
IDENTIFIER = st.builds(Identifier, TEXT, TEXT, st.lists(TEXT, max_size=2).map(tuple))
WITHOUT_ROLE = st.builds(Identifier, TEXT, TEXT)
EVENT = st.builds(
    Event,
    id=st.uuids(),
    type=TEXT,
    at=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    details=st.lists(TEXT, max_size=1).map(tuple),
    outcomes=st.lists(st.builds(Outcome, TEXT, st.lists(TEXT, max_size=2).map(tuple)), max_size=3).map(tuple),
    agents=st.lists(IDENTIFIER, max_size=3).map(tuple),
    objects=st.lists(IDENTIFIER, max_size=3).map(tuple),
)


def _read(xml: str) -> Event:
    return event_from(etree.fromstring(xml.encode()))


def _meaning(event: Event) -> Event:
    return replace(event, version=None, identifier=str(event.id), date_text=None, identifier_type="UUID", attributes=())


@settings(max_examples=200)
@given(EVENT)
def test_what_both_versions_hold_survives_2_and_3_in_any_order(event: Event) -> None:
    for way in (("2.3",), ("3.0",), ("2.3", "3.0"), ("3.0", "2.3"), ("2.3", "3.0", "2.3", "3.0")):
        carried = event
        for version in way:
            carried = _read(event_xml(carried, version))
        assert _meaning(carried) == _meaning(event), way


@settings(max_examples=100)
@given(EVENT)
def test_the_same_xml_is_written_however_often_it_is_read(event: Event) -> None:
    for version in ("2.3", "3.0"):
        written = event_xml(event, version)
        assert event_xml(_read(written), version) == written


FIRST = st.builds(
    Event,
    id=st.uuids(),
    type=TEXT,
    at=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    details=st.lists(TEXT, max_size=1).map(tuple),
    outcomes=st.lists(st.builds(Outcome, TEXT, st.lists(TEXT, max_size=1).map(tuple)), max_size=3).map(tuple),
    agents=st.lists(IDENTIFIER, max_size=2).map(tuple),
    objects=st.lists(WITHOUT_ROLE, max_size=2).map(tuple),
)


@settings(max_examples=200)
@given(FIRST)
def test_premis_1_survives_2_and_3(event: Event) -> None:
    """Of PREMIS 1.1: one note an outcome, objects without roles; its elements are those of 2 under its namespace."""
    first = event_xml(event, "2.3").replace(V2, V1_1, 1)
    read = _read(first)
    assert read.version == "1.1"
    assert read.emitted_version == "2.3"
    assert _meaning(read) == _meaning(event)
    assert _meaning(_read(event_xml(read, "3.0"))) == _meaning(event)
    assert _meaning(_read(event_xml(read))) == _meaning(event)


@settings(max_examples=200)
@given(EVENT)
def test_json_holds_what_xml_holds(event: Event) -> None:
    assert _meaning(event_from_json(event_to_json(event))) == _meaning(event)


@settings(max_examples=100)
@given(EVENT, TEXT)
def test_a_leaf_is_canonical_json(event: Event, actor: str) -> None:
    text = leaf(event, kind="created", version=1, xml="<x/>", recorded_at=datetime(2024, 1, 1, tzinfo=UTC), actor=actor)
    assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False) == text
    assert json.loads(text)["event"] == str(uuid.UUID(int=event.id.int))


@pytest.mark.parametrize("given", ["LinkObjectXmlID", "odd", "simpleLink"])
def test_a_prefix_is_declared_only_where_it_is_written(given: str) -> None:
    agent = Identifier("t", "v", (), ((given, "http://example.org/" if given == "simpleLink" else "x"),))
    event = Event(id=uuid.uuid4(), type="t", at=datetime(2024, 1, 1, tzinfo=UTC), agents=(agent,))
    for version in ("2.3", "3.0"):
        written = event_xml(event, version)
        assert event_xml(_read(written), version) == written
        assert ("xmlns:xlink" in written) is (given == "simpleLink" and version == "2.3")
        assert "LinkObjectXmlID" not in written
