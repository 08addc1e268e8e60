"""Events as most senders write them, read from their canonical form by one expression and rendered from a template.

An element that holds what the log is usually told, and in the order of the schema, takes a third of the time this way.
Whatever differs, be it an attribute, a comment or a character that has to be escaped, is left to the reader and the
writer. Both ways come to the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from uuid import UUID

from lxml import etree

from perdura.premis.dates import event_date
from perdura.premis.model import Event, Identifier, Outcome
from perdura.premis.xml.lengths import LONGEST_VALUE
from perdura.premis.xml.names import NAMESPACES, WRITTEN
from perdura.premis.xml.reader import DEFAULT_IDENTIFIER_TYPE, canonical, event_from, uuid_in
from perdura.premis.xml.writer import event_xml

Roles = tuple[bool, ...]
"""Which of the linked identifiers have a role."""

_BLANK = " \t\n"
BETWEEN = f"[{_BLANK}]*"
TEXT = "[^<&>\0-\x08\x0b-\x1f\ufffe\uffff]*"
"""Text that XML writes, and Canonical XML too, in the letters that it stands for."""


def usual(
    text: str, *, now: datetime, zone: tzinfo = UTC, identifier_type: str = DEFAULT_IDENTIFIER_TYPE
) -> tuple[Event, str] | None:
    """The event of a canonical element and its XML as it is shown; None unless it is written as most are.

    Comes to what `event_from` and `event_xml` come to. Raises BadDate.
    """
    prefix = text[1 : text.find("event", 1, 16)]
    form = FORMS.get(prefix)
    found = form.event.fullmatch(text) if form is not None else None
    version = _version(found[1], prefix) if found is not None else None
    if form is None or found is None or version is None:
        return None
    return usual_in(found, form, version, now=now, zone=zone, identifier_type=identifier_type)


def usual_in(
    found: re.Match[str],
    form: Form,
    version: str,
    *,
    now: datetime,
    zone: tzinfo = UTC,
    identifier_type: str = DEFAULT_IDENTIFIER_TYPE,
) -> tuple[Event, str] | None:
    """What `usual` gives, by what `form.inside` found as the last part of an expression. Raises BadDate."""
    *parts, acting, acted_on = found.groups("")[-10:]
    if found.end() - found.start() > LONGEST_VALUE:
        return None
    type_, name, kind, date, plain, wrapped, outcome, note = [part.strip(_BLANK) for part in parts]
    identity = uuid_in(name)
    if identity is None or not date or "/" in date or (found["outcome"] is not None and not outcome):
        return None
    agents, objects = _linked(form.agent, acting), _linked(form.object, acted_on)
    if agents is None or objects is None:
        return None
    when = event_date(date, now, zone)
    type_, detail = type_ or identifier_type, plain or wrapped
    event = Event(
        identity,
        kind,
        when.instant,
        (detail,) if detail else (),
        (Outcome(outcome, (note,) if note else ()),) if outcome else (),
        agents,
        objects,
        type_,
        name,
        (),
        when.text,
        version,
    )
    texts = [type_, name, kind, when.text, *filter(None, (detail, outcome, note))]
    for each in (*agents, *objects):
        texts += (each.type, each.value, *each.roles)
    template = _template(version, bool(detail), bool(outcome), bool(note), _roles(agents), _roles(objects))
    return event, template % tuple(texts)


def received(
    element: etree._Element, *, now: datetime, zone: tzinfo = UTC, identifier_type: str = DEFAULT_IDENTIFIER_TYPE
) -> tuple[Event, str, str | None]:
    """One event that was sent: the event, its canonical XML, and the XML that is shown of it, if that is known already.

    Raises BadPremis or BadDate.
    """
    sent = canonical(element)
    if (found := usual(sent, now=now, zone=zone, identifier_type=identifier_type)) is not None:
        return found[0], sent, found[1]
    return event_from(element, now=now, zone=zone, identifier_type=identifier_type), sent, None


def _linked(expression: re.Pattern[str], block: str) -> tuple[Identifier, ...] | None:
    """The identifiers in a part of an event; None when one has no value."""
    linked = []
    for type_, value, role in expression.findall(block):
        value, role = value.strip(_BLANK), role.strip(_BLANK)
        if not value:
            return None
        linked.append(Identifier(type_.strip(_BLANK), value, (role,) if role else ()))
    return tuple(linked)


def _roles(identifiers: tuple[Identifier, ...]) -> Roles:
    return tuple([bool(each.roles) for each in identifiers])


@lru_cache(maxsize=64)
def _version(declarations: str, prefix: str) -> str | None:
    """The version of PREMIS that a prefix stands for, if it is one that is written."""
    attribute = f"xmlns:{prefix[:-1]}" if prefix else "xmlns"
    found = re.search(f' {attribute}="([^"]*)"', declarations)
    version = NAMESPACES.get(found[1]) if found else None
    return version if version in WRITTEN else None


@lru_cache(maxsize=128)
def _template(version: str, detail: bool, outcome: bool, note: bool, agents: Roles, objects: Roles) -> str:
    """What the writer makes of an event all of whose texts are `%s`."""
    mark = "%s"

    def linked(roles: Roles) -> tuple[Identifier, ...]:
        return tuple(Identifier(mark, mark, (mark,) if role else ()) for role in roles)

    return event_xml(
        Event(
            UUID(int=0),
            mark,
            datetime(1, 1, 1, tzinfo=UTC),
            (mark,) if detail else (),
            (Outcome(mark, (mark,) if note else ()),) if outcome else (),
            linked(agents),
            linked(objects),
            mark,
            mark,
            (),
            mark,
            version,
        )
    )


@dataclass(frozen=True, slots=True)
class Form:
    """What events look like with one prefix: all of one in canonical XML, all after its first tag, what it links to."""

    event: re.Pattern[str]
    inside: str
    agent: re.Pattern[str]
    object: re.Pattern[str]


def _form(prefix: str) -> Form:
    def leaf(name: str, group: str = "") -> str:
        return f"<{prefix}{name}>({group}{TEXT})</{prefix}{name}>{BETWEEN}"

    def holding(name: str, *inner: str) -> str:
        return f"<{prefix}{name}>{BETWEEN}{''.join(inner)}</{prefix}{name}>{BETWEEN}"

    def maybe(*inner: str) -> str:
        return f"(?:{''.join(inner)})?"

    def link(kind: str) -> str:
        name = f"linking{kind}Identifier"
        role = maybe(leaf(f"linking{kind}Role"))
        return holding(name, leaf(f"{name}Type"), leaf(f"{name}Value"), role)

    def all_of(kind: str) -> str:
        return f"((?:{link(kind).replace('([', '(?:[')})*)"

    note = maybe(holding("eventOutcomeDetail", leaf("eventOutcomeDetailNote")))
    parts = (
        BETWEEN,
        holding("eventIdentifier", leaf("eventIdentifierType"), leaf("eventIdentifierValue")),
        leaf("eventType"),
        leaf("eventDateTime"),
        f"(?:{leaf('eventDetail')}|{holding('eventDetailInformation', leaf('eventDetail'))})?",
        maybe(holding("eventOutcomeInformation", leaf("eventOutcome", "?P<outcome>"), note)),
        all_of("Agent"),
        all_of("Object"),
        f"</{prefix}event>",
    )
    inside = "".join(parts)
    declared = rf'<{prefix}event((?: xmlns(?::[\w.-]+)?="[^"<&]*")+)>'
    return Form(re.compile(declared + inside), inside, re.compile(link("Agent")), re.compile(link("Object")))


FORMS = {prefix: _form(prefix) for prefix in ("premis:", "")}
