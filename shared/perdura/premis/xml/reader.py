"""PREMIS 1.0 to 3.0 XML to the model: any order of children, any prefix, nothing that was sent is lost.

What has no place in the model (comments, elements unknown to PREMIS) stays in the canonical form of the element,
which is what the log keeps (premis.md 1.3, 2.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from uuid import UUID, uuid4

from lxml import etree

from perdura.premis.dates import event_date
from perdura.premis.model import Agent, Attributes, Detail, Event, Identifier, Outcome, Term
from perdura.premis.xml.lengths import check_agent_lengths, check_lengths, check_value
from perdura.premis.xml.names import ATOM, NAMESPACES, V1_0, XLINK
from perdura.premis.xml.parse import BadPremis, check_extension

DEFAULT_IDENTIFIER_TYPE = "http://purl.org/net/untl/vocabularies/identifier-qualifiers/#UUID"
DEFAULT_AGENT_TYPE = "PES:Agent"

_BLANK = " \t\r\n"
_LONGEST_EVENT_IDENTIFIER = 200


def canonical(element: etree._Element) -> str:
    """The element as it was sent, in canonical form (C14N 1.0 with comments)."""
    text = _canonical(element)
    if ' xmlns=""' in text:
        # Where another default namespace holds around an element, libxml2 takes some of its children out of theirs.
        text = _canonical(etree.fromstring(etree.tostring(element, with_tail=False), _ALONE))
    return text


_ALONE = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)


def _canonical(element: etree._Element) -> str:
    text: str = etree.tostring(element, method="c14n", with_comments=True, with_tail=False).decode()
    return text


def events_in(root: etree._Element) -> list[etree._Element]:
    """The event elements of a bare event, of an Atom entry or feed, or of a premis document.

    Raises BadPremis when there is none, or when an entry does not hold exactly one.
    """
    return _contents(root, "event")


def agents_in(root: etree._Element) -> list[etree._Element]:
    """The agent elements, as `events_in`."""
    return _contents(root, "agent")


def event_from(
    element: etree._Element,
    *,
    now: datetime | None = None,
    zone: tzinfo = UTC,
    identifier_type: str = DEFAULT_IDENTIFIER_TYPE,
    partial: bool = False,
    stored: bool = False,
) -> Event:
    """Read one event; an identifier that is no UUID is replaced by a new one (premis.md 1.4).

    With `partial` (an update) the date may be absent: `date_text` is then empty. What is `stored` in the log already
    may have values of any length. Raises BadPremis or BadDate.
    """
    now = now or datetime.now(UTC)
    version = _version(element)
    parts: dict[str, list[etree._Element]] = {}
    tag: str = element.tag
    start = tag.index("}") + 1
    namespace = tag[:start]
    for child in element:
        tag = child.tag
        if isinstance(tag, str) and tag.startswith(namespace):
            name = tag[start:]
            if name in parts:
                parts[name].append(child)
            else:
                parts[name] = [child]
    of = parts.get
    identity, spelling, kept_type, identifier_attributes = _event_identifier(of("eventIdentifier", ()), identifier_type)
    dates = of("eventDateTime", ())
    if len(dates) > 1:
        raise BadPremis("eventDateTime: expected one, found several.")
    text = _text(dates[0]) if dates else ""
    if not text and not partial:
        raise BadPremis("eventDateTime is missing: an ISO 8601 date or date-time is mandatory.")
    date = event_date(text, now, zone) if text else None
    types = of("eventType")
    outcomes = [_outcome(each) for each in of("eventOutcomeInformation", ())]
    event = Event(
        identity,
        _term(types[0]) if types else "",
        date.instant if date else now,
        _details(of("eventDetail", ()), of("eventDetailInformation", ())),
        tuple([each for each in outcomes if each is not None]),
        tuple([_identifier(each, "linkingAgentIdentifier", "") for each in of("linkingAgentIdentifier", ())]),
        tuple([_identifier(each, "linkingObjectIdentifier", "") for each in of("linkingObjectIdentifier", ())]),
        kept_type,
        spelling,
        identifier_attributes,
        date.text if date else "",
        version,
        _attributes(element),
    )
    if not stored:
        check_lengths(event)
    return event


def sent_identifier(element: etree._Element) -> str:
    """The event identifier as it was sent, stripped; empty when there was none."""
    value = element.find("{*}eventIdentifier/{*}eventIdentifierValue")
    return _text(value) if value is not None else ""


def is_uuid(text: str) -> bool:
    """Whether an event identifier is kept: it is a UUID in some spelling."""
    return uuid_in(text) is not None


def uuid_in(text: str) -> UUID | None:
    """The UUID that an event identifier is, in whatever spelling."""
    if len(text) > _LONGEST_EVENT_IDENTIFIER:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None


def agent_from(element: etree._Element, *, partial: bool = False, stored: bool = False) -> Agent:
    """Read one agent; raises BadPremis naming what is missing. With `partial` only the identifier is needed.

    What is `stored` in the log already may have values of any length.
    """
    version = _version(element)
    identifiers: list[Identifier] = []
    names: list[str] = []
    texts: dict[str, list[str]] = {"agentType": [], "agentVersion": [], "agentNote": []}
    extensions: list[str] = []
    links: list[tuple[str, Identifier]] = []
    for child in _children(element):
        name = _local(child)
        if etree.QName(child).namespace != etree.QName(element).namespace:
            continue
        if name == "agentIdentifier":
            identifiers.append(_identifier(child, "agentIdentifier", DEFAULT_AGENT_TYPE))
        elif name == "agentName":
            names.append(_term(child))
        elif name in texts:
            texts[name].append(_term(child) if name == "agentType" else _text(child))
        elif name == "agentExtension":
            extensions.append(_inner(child))
        elif name == "mdSec":
            extensions.append(_serialised(child))
        elif name.startswith("linking") and name.endswith("Identifier"):
            links.append((name, _identifier(child, name, "")))
    names = [name for name in names if name]
    for label, found in (("agentName", names), ("agentType", [each for each in texts["agentType"] if each])):
        if not found and not partial:
            raise BadPremis(f"{label} is missing or empty.")
    if not identifiers:
        raise BadPremis("agentIdentifier is missing.")
    agent = Agent(
        identifier=identifiers[0],
        name=names[0] if names else "",
        type=texts["agentType"][0] if texts["agentType"] else "",
        notes=tuple(filter(None, texts["agentNote"])),
        version=texts["agentVersion"][0] if texts["agentVersion"] else None,
        more_identifiers=tuple(identifiers[1:]),
        more_names=tuple(names[1:]),
        extensions=tuple(extensions),
        links=tuple(links),
        premis_version=version,
        attributes=_attributes(element),
    )
    if not stored:
        check_agent_lengths(agent)
    return agent


def _contents(root: etree._Element, kind: str) -> list[etree._Element]:
    namespace, _, name = root.tag.rpartition("}")
    namespace = namespace[1:]
    if name == kind and namespace not in (ATOM, ""):
        _version(root)
        return [root]
    if name == "premis" and namespace in NAMESPACES:
        return [each for each in _children(root) if each.tag == f"{{{namespace}}}{kind}"]
    if namespace not in (ATOM, "") or name not in ("entry", "feed", kind):
        raise BadPremis(f"{name[:200]}: expected an Atom entry or a PREMIS {kind} element.")
    if name == kind:
        _version(root)
    entries = [root] if name == "entry" else list(_named(root, "entry"))
    return [_content(entry, kind) for entry in entries]


def _content(entry: etree._Element, kind: str) -> etree._Element:
    content = next(_named(entry, "content"), None)
    if content is None:
        raise BadPremis(f"content is missing: expected an Atom entry whose content is a PREMIS {kind}.")
    held = [child for child in _children(content) if _local(child) == kind]
    if len(held) > 1:
        raise BadPremis(f"content: expected exactly one {kind}, found {len(held)}.")
    if not held:
        raise BadPremis(f"content: expected a PREMIS {kind} element, found none.")
    _version(held[0])
    return held[0]


def _named(parent: etree._Element, name: str) -> Iterator[etree._Element]:
    """Children of that name in the Atom namespace or in none."""
    return iter(parent.iterchildren(f"{{{ATOM}}}{name}", name))


def _parts(element: etree._Element) -> list[tuple[str, etree._Element]]:
    """Child elements by their names without namespaces."""
    return [(tag[tag.find("}") + 1 :], child) for child in element if isinstance(tag := child.tag, str)]


def _local(element: etree._Element) -> str:
    """The name of an element without its namespace."""
    tag: str = element.tag
    return tag[tag.find("}") + 1 :]


def _children(element: etree._Element) -> list[etree._Element]:
    """Child elements; comments and processing instructions are no elements."""
    return [child for child in element if isinstance(child.tag, str)]


def _version(element: etree._Element) -> str:
    namespace = element.tag[1:].rpartition("}")[0]
    version = NAMESPACES.get(namespace)
    if version is None:
        accepted = ", ".join(NAMESPACES)
        raise BadPremis(f"Namespace {namespace[:200]!r} is not PREMIS; accepted are {accepted}.")
    return version


def _text(element: etree._Element) -> str:
    """All text of a leaf, without comments, stripped of surrounding white space."""
    text: str | None = element.text
    if len(element):
        text = "".join(element.xpath(".//text()"))
    return text.strip(_BLANK) if text else ""


def _term(element: etree._Element) -> str:
    text = _text(element)
    if not element.keys():
        return text
    known = {name: element.get(name) for name in ("authority", "authorityURI", "valueURI")}
    if not any(known.values()):
        return text
    return Term(text, authority=known["authority"], authority_uri=known["authorityURI"], value_uri=known["valueURI"])


def _attributes(element: etree._Element) -> Attributes:
    found = element.items()
    return tuple([(str(name), str(value)) for name, value in found]) if found else ()


def _event_identifier(elements: Sequence[etree._Element], default_type: str) -> tuple[UUID, str, str, Attributes]:
    """(UUID, its spelling, its type, attributes): what was sent if it is one, else a new one of the default type."""
    if len(elements) > 1:
        raise BadPremis("eventIdentifier: expected one, found several.")
    if elements:
        identifier = _identifier(elements[0], "eventIdentifier", default_type, mandatory=False)
        check_value("eventIdentifierValue", identifier.value)
        if (sent := uuid_in(identifier.value)) is not None:
            return sent, identifier.value, identifier.type, identifier.attributes
    new = uuid4()
    return new, new.hex, default_type, ()


def _identifier(element: etree._Element, name: str, default_type: str, *, mandatory: bool = True) -> Identifier:
    type_name, value_name, role_name = _names(name)
    type_, value = "", ""
    roles: tuple[str, ...] = ()
    for child in element:
        tag = child.tag
        if not isinstance(tag, str):
            continue
        local = tag[tag.find("}") + 1 :]
        if local == type_name:
            type_ = _term(child)
        elif local == value_name:
            value = _text(child)
        elif local == role_name and (role := _term(child)):
            roles = (*roles, role)
    if not value and mandatory:
        raise BadPremis(f"{name}Value is missing or empty.")
    return Identifier(type_ or default_type, value, roles, _attributes(element))


@lru_cache(maxsize=32)
def _names(name: str) -> tuple[str, str, str]:
    """Names of the parts of an identifier element: type, value, role."""
    return f"{name}Type", f"{name}Value", f"{name.removesuffix('Identifier')}Role"


def _details(texts: Sequence[etree._Element], informations: Sequence[etree._Element]) -> tuple[str, ...]:
    details = [_text(each) for each in texts]
    for information in informations:
        details.append(_detail(information, "eventDetail"))
    return tuple([each for each in details if each or isinstance(each, Detail)])


def _outcome(element: etree._Element) -> Outcome | None:
    outcome = ""
    notes: list[str] = []
    for local, child in _parts(element):
        if local == "eventOutcome":
            outcome = outcome or _term(child)
        elif local == "eventOutcomeDetail":
            notes.append(_detail(child, "eventOutcomeDetail", "eventOutcomeDetailNote"))
    kept = tuple([each for each in notes if each or isinstance(each, Detail)])
    return Outcome(outcome, kept) if outcome or kept else None


def _detail(element: etree._Element, name: str, text_name: str | None = None) -> str:
    """A text and the extensions beside it; bare text counts as the text (premis.md 1.3).

    In PREMIS 1.x any other element is an extension of its own (premis.md 2.3).
    """
    texts: list[str] = []
    extensions: list[str] = []
    first_version = element.tag.startswith("{" + V1_0)
    for local, child in _parts(element):
        if local == (text_name or name):
            texts.append(_text(child))
        elif local == f"{name}Extension":
            extensions.append(_inner(child))
        elif local == "mdSec" or first_version:
            extensions.append(_serialised(child))
            check_extension(extensions[-1])
    loose = "".join([element.text or "", *[child.tail or "" for child in element]])
    if loose and (loose := loose.strip(_BLANK)):
        texts.append(loose)
    text = texts[0] if len(texts) == 1 else "\n".join(filter(None, texts))
    return Detail(text, tuple(extensions)) if extensions else text


_DECLARATION = re.compile(r' xmlns:([\w.-]+)="([^"]*)"')


def _inner(element: etree._Element) -> str:
    return "".join(_serialised(child) for child in _children(element))


def _serialised(element: etree._Element) -> str:
    """The element as XML that stands alone, without declarations of prefixes of its wrapping that it never uses."""
    text: str = etree.tostring(element, encoding="unicode", with_tail=False)
    head, bracket, rest = text.partition(">")

    def needed(match: re.Match[str]) -> str:
        prefix, uri = match.groups()
        if uri not in NAMESPACES and uri not in (ATOM, XLINK):
            return match[0]
        return match[0] if f"{prefix}:" in text.replace(match[0], "", 1) else ""

    return _DECLARATION.sub(needed, head) + bracket + rest
