"""Events and agents as JSON: what batches, CloudEvents and programs send and get (docs/premis-log.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any
from uuid import UUID, uuid4

from lxml import etree
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perdura.errors import Rejected
from perdura.premis.dates import event_date
from perdura.premis.model import Agent, Detail, Event, Identifier, Outcome, Term
from perdura.premis.xml import (
    DEFAULT_IDENTIFIER_TYPE,
    LONGEST_VALUE,
    canonical,
    check_extension,
    events_in,
    is_uuid,
    parse,
    sent_identifier,
)
from perdura.premis.xml import event_from as event_from_xml

_BLANK = " \t\r\n"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


BESIDE = frozenset({"id", "recorded", "changed", "revision"})
"""What the log says of an event beside what was sent; left aside where an event is read."""


LONGEST_TEXT = 10_000_000
"""Bytes in UTF-8 of a text that the XML parser reads again."""


class BadJson(Rejected):
    """The JSON is no event of the documented form."""

    code = "bad-json"


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Term(_Form):
    value: str = Field(max_length=LONGEST_VALUE)
    authority: str | None = None
    authority_uri: str | None = Field(None, alias="authorityURI")
    value_uri: str | None = Field(None, alias="valueURI")


class _Detail(_Form):
    text: str = ""
    extensions: tuple[str, ...] = ()


_Value = Annotated[str, Field(max_length=LONGEST_VALUE)]
_TermText = _Value | _Term
_DetailText = str | _Detail


class _Identifier(_Form):
    type: _TermText = ""
    value: str = Field(min_length=1, max_length=LONGEST_VALUE)
    roles: tuple[_TermText, ...] = ()
    attributes: dict[str, str] = {}


class _EventIdentifier(_Form):
    type: _TermText = ""
    value: str = ""
    attributes: dict[str, str] = {}


class _Outcome(_Form):
    outcome: _TermText = ""
    notes: tuple[_DetailText, ...] = ()


class _Event(_Form):
    identifier: str | _EventIdentifier = ""
    type: _TermText = ""
    date: str
    details: tuple[_DetailText, ...] = ()
    outcomes: tuple[_Value | _Outcome, ...] = ()
    agents: tuple[_Identifier, ...] = ()
    objects: tuple[_Identifier, ...] = ()
    version: str = Field("3.0", pattern=r"^(2\.3|3\.0)$")
    attributes: dict[str, str] = {}


def event_from_json(
    value: Any,
    *,
    now: datetime | None = None,
    zone: tzinfo = UTC,
    identifier_type: str = DEFAULT_IDENTIFIER_TYPE,
    otherwise: UUID | None = None,
) -> Event:
    """Read one event: an object of the documented form, or `{"xml": "<premis:event …>"}`.

    An identifier that is no UUID is replaced, by `otherwise` where that is given. Raises BadJson, BadDate, BadPremis.
    """
    now = now or datetime.now(UTC)
    if (xml := xml_in(value)) is not None:
        event = event_from_xml(xml, now=now, zone=zone, identifier_type=identifier_type)
        if otherwise is not None and not is_uuid(sent_identifier(xml)):
            event = replace(event, id=otherwise, identifier=str(otherwise))
        return event
    if isinstance(value, Mapping):
        value = {name: each for name, each in value.items() if name not in BESIDE}
    form = _validated(_Event, value)
    details = tuple(filter(_said, map(_detail, form.details)))
    _readable("\n".join(details))
    date = event_date(form.date.strip(_BLANK), now, zone)
    sent = form.identifier if isinstance(form.identifier, _EventIdentifier) else _EventIdentifier(value=form.identifier)
    spelling = sent.value.strip(_BLANK)
    if is_uuid(spelling):
        kept_type = _term(sent.type) or identifier_type
    else:
        spelling, kept_type = (str(otherwise) if otherwise else uuid4().hex), identifier_type
    return Event(
        id=UUID(spelling),
        type=_term(form.type),
        at=date.instant,
        details=details,
        outcomes=tuple(_outcome(each) for each in form.outcomes if not isinstance(each, str) or each),
        agents=tuple(map(_identifier, form.agents)),
        objects=tuple(map(_identifier, form.objects)),
        identifier_type=kept_type,
        identifier=spelling,
        identifier_attributes=tuple(sent.attributes.items()),
        date_text=date.text,
        version=form.version,
        attributes=tuple(form.attributes.items()),
    )


def xml_in(value: Any) -> etree._Element | None:
    """The event element of `{"xml": "<premis:event …>"}`, None of any other form; raises NotXml, BadPremis, BadJson."""
    if not (isinstance(value, Mapping) and set(value) == {"xml"} and isinstance(value["xml"], str)):
        return None
    elements = events_in(parse(value["xml"].encode("utf-8", "replace")))
    if len(elements) != 1:
        raise BadJson("xml: expected exactly one event.")
    return elements[0]


def sent_xml(value: Any) -> str | None:
    """The canonical XML of an event that was sent as `{"xml": …}`, None for any other form; raises as `xml_in`."""
    element = xml_in(value)
    return None if element is None else canonical(element)


def event_to_json(event: Event) -> dict[str, Any]:
    """The event in the form that `event_from_json` reads."""
    identifier = Identifier(event.identifier_type, event.identifier_value, (), event.identifier_attributes)
    shown = {
        "identifier": _shown_identifier(identifier),
        "type": _shown(event.type),
        "date": event.date,
        "details": [_shown_detail(each) for each in event.details],
        "outcomes": [
            {"outcome": _shown(each.outcome), "notes": [_shown_detail(note) for note in each.notes]}
            for each in event.outcomes
        ],
        "agents": [_shown_identifier(each) for each in event.agents],
        "objects": [_shown_identifier(each) for each in event.objects],
        "version": event.emitted_version,
    }
    return shown | ({"attributes": dict(event.attributes)} if event.attributes else {})


def agent_to_json(agent: Agent, url: str) -> dict[str, Any]:
    """The agent as the PREMIS Event Service shows it: `id` is its page, `note` all notes (premis.md 1.12)."""
    return {"id": url, "name": agent.name, "note": "\n".join(agent.notes), "type": agent.type}


def _validated(form: type[_Event], value: Any) -> _Event:
    try:
        found = form.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(each) for each in first["loc"]) or "event"
        raise BadJson(f"{where[:200]}: {first['msg']}") from error
    if (bad := _unprintable(value)) is not None:
        raise BadJson(f"{bad[:200]!r}: characters that XML cannot hold.")
    return found


def _unprintable(value: Any) -> str | None:
    if isinstance(value, str):
        return value if _NOT_XML.search(value) else None
    parts: Sequence[Any] = (
        list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    )
    return next((bad for part in parts if (bad := _unprintable(part)) is not None), None)


def _term(form: _TermText) -> str:
    if isinstance(form, str):
        return form.strip(_BLANK)
    return Term(
        form.value.strip(_BLANK), authority=form.authority, authority_uri=form.authority_uri, value_uri=form.value_uri
    )


def _readable(text: str) -> str:
    """The text; raises BadJson for one too long to be read again from XML."""
    if len(text) > LONGEST_TEXT // 4 and len(text.encode("utf-8", "replace")) > LONGEST_TEXT:
        raise BadJson(f"{text[:200]!r}…: longer than {LONGEST_TEXT} bytes.")
    return text


def _detail(form: _DetailText) -> str:
    if isinstance(form, str):
        return _readable(form)
    _readable(form.text)
    for extension in form.extensions:
        check_extension(extension)
    return Detail(form.text, form.extensions) if form.extensions else form.text


def _said(detail: str) -> bool:
    return bool(detail) or isinstance(detail, Detail)


def _outcome(form: str | _Outcome) -> Outcome:
    if isinstance(form, str):
        return Outcome(form)
    return Outcome(_term(form.outcome), tuple(filter(_said, map(_detail, form.notes))))


def _identifier(form: _Identifier) -> Identifier:
    value = form.value.strip(_BLANK)
    if not value:
        raise BadJson("value: an identifier of an agent or object is empty.")
    roles = tuple(filter(None, map(_term, form.roles)))
    return Identifier(_term(form.type), value, roles, tuple(form.attributes.items()))


def _shown(text: str) -> str | dict[str, str]:
    if not isinstance(text, Term):
        return text
    parts = {"authority": text.authority, "authorityURI": text.authority_uri, "valueURI": text.value_uri}
    return {"value": str(text), **{name: part for name, part in parts.items() if part is not None}}


def _shown_detail(detail: str) -> str | dict[str, Any]:
    return {"text": str(detail), "extensions": list(detail.extensions)} if isinstance(detail, Detail) else detail


def _shown_identifier(identifier: Identifier) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": _shown(identifier.type), "value": identifier.value}
    if identifier.roles:
        shown["roles"] = [_shown(role) for role in identifier.roles]
    if identifier.attributes:
        shown["attributes"] = dict(identifier.attributes)
    return shown
