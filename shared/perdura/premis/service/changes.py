"""What a PUT of an event says: as XML, of which absent elements keep their value, or as JSON, of which members do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from lxml import etree

from perdura.premis.json_form import BadJson, event_from_json, event_to_json, xml_in
from perdura.premis.merging import merged_event
from perdura.premis.model import Event
from perdura.premis.service.call import Refused
from perdura.premis.service.unpacking import json_value
from perdura.premis.xml import BadPremis, NotXml, canonical, event_from, events_in, parse, sent_identifier

_MISSING = "Event element missing in request body."


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one event: the identifier in the body (empty if there is none), and what it makes of the event.

    `onto` gives the event that results, and its canonical XML if it was sent whole; it raises Rejected.
    """

    identifier: str
    onto: Callable[[Event, datetime, tzinfo], tuple[Event, str | None]]


def from_xml(data: bytes) -> Change:
    """Of an entry or a bare event; raises Refused."""
    try:
        root = parse(data)
    except NotXml as error:
        raise Refused(400, error.message if "DTD" in error.message else "Invalid request XML.") from error
    try:
        elements = events_in(root)
    except BadPremis as error:
        missing = "found none" in error.message or "is missing" in error.message or "expected an Atom" in error.message
        raise Refused(400, _MISSING if missing else error.message) from error
    if len(elements) != 1:
        raise Refused(400, _MISSING)
    return _of_element(elements[0])


def from_json(data: bytes) -> Change:
    """Of an event as JSON, also of a part of one; raises Rejected."""
    value = json_value(data)
    if (element := xml_in(value)) is not None:
        return _of_element(element)
    if not isinstance(value, Mapping):
        raise BadJson("expected one event.")
    named = value.get("identifier")
    named = dict(named) if isinstance(named, Mapping) else {} if named is None else {"value": named}
    inside = named.pop("value", "")
    if not isinstance(inside, str):
        raise BadJson("identifier: expected text.")

    def onto(old: Event, now: datetime, zone: tzinfo) -> tuple[Event, None]:
        before = event_to_json(old)
        whole = {**before, **value, "identifier": {**before["identifier"], **named}}
        return replace(event_from_json(whole, now=now, zone=zone), id=old.id, identifier=old.identifier), None

    return Change(inside.strip(), onto)


def _of_element(element: etree._Element) -> Change:
    inside = sent_identifier(element)

    def onto(old: Event, now: datetime, zone: tzinfo) -> tuple[Event, str | None]:
        sent = event_from(element, now=now, zone=zone, partial=True)
        names = {etree.QName(child).localname for child in element if isinstance(child.tag, str)}
        event, whole = merged_event(old, sent, names, identified=bool(inside))
        return event, canonical(element) if whole else None

    return Change(inside, onto)
