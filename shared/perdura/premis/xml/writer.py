"""The model to PREMIS 2.3 and 3.0 XML, in schema order and always valid (premis.md 2.2, 2.3).

A view that cannot hold everything stays valid; the other view holds the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from lxml import etree

from perdura.premis.dates import allowed_in_2
from perdura.premis.model import Agent, Attributes, Detail, Event, Identifier, Outcome, Term, rfc3339
from perdura.premis.xml.names import V2, WRITTEN, XLINK, XSI

_NCNAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_URI = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*(?:#"
                  r"(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)?")  # fmt: skip
_XLINK_ATTRIBUTES = ("type", "role", "arcrole", "title", "show", "actuate")
_XLINK_WORDS = {
    "type": {"simple"},
    "show": {"new", "replace", "embed", "other", "none"},
    "actuate": {"onLoad", "onRequest", "other", "none"},
}
_XML_IDS = {
    "linkingAgent": "LinkAgentXmlID",
    "linkingObject": "LinkObjectXmlID",
    "linkingEvent": "LinkEventXmlID",
    "linkingEnvironment": "LinkEventXmlID",
    "linkingRightsStatement": "LinkPermissionStatementXmlID",
}
"""Attributes that refer to an element of the same document, by what refers."""
_WITH_ROLES = frozenset({"linkingAgent", "linkingObject", "linkingEnvironment"})
_AGENT_LINKS = ("linkingEventIdentifier", "linkingRightsStatementIdentifier", "linkingEnvironmentIdentifier")
_MD_SEC = re.compile(r"<(?:[\w.-]+:)?mdSec[\s/>]")
_SPECIAL = re.compile("[^\t\n\x20-%\x27-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def event_element(event: Event, version: str = "3.0") -> etree._Element:
    """The event as an element of PREMIS `2.3` or `3.0`."""
    return etree.fromstring(event_xml(event, version))


def agent_element(agent: Agent, version: str = "3.0") -> etree._Element:
    """The agent as an element of PREMIS `2.3` or `3.0`."""
    return etree.fromstring(agent_xml(agent, version))


def document(
    objects: Iterable[etree._Element],
    events: Iterable[Event],
    agents: Iterable[Agent],
    *,
    version: str = "3.0",
) -> etree._Element:
    """A `premis` document of objects, events and agents; both schemas want at least one object.

    `objects` are elements of that version (`object_element` makes the simplest ones).
    """
    namespace = WRITTEN[version]
    root = etree.Element(
        f"{{{namespace}}}premis",
        nsmap={"premis": namespace, "xsi": XSI, **({"xlink": XLINK} if version == "2.3" else {})},
    )
    root.set("version", version)
    root.extend(objects)
    root.extend(event_element(event, version) for event in events)
    root.extend(agent_element(agent, version) for agent in agents)
    etree.cleanup_namespaces(root, keep_ns_prefixes=["premis", "xsi"])
    return root


def document_pieces(
    objects: Iterable[etree._Element], events: Iterable[Event], *, version: str = "3.0"
) -> Iterator[bytes]:
    """A `premis` document of objects and events as UTF-8, a piece an event: of any number one is in memory."""
    empty = etree.tostring(document(objects, (), (), version=version), xml_declaration=True, encoding="UTF-8")
    end = b"</premis:premis>"
    yield empty.removesuffix(end)
    for event in events:
        yield event_xml(event, version).encode()
    yield end


def object_element(identifiers: Sequence[Identifier], version: str = "3.0") -> etree._Element:
    """An object known by its identifiers only: an intellectual entity (3.0) or a representation (2.3)."""
    category = "intellectualEntity" if version == "3.0" else "representation"
    inner = "".join(_identifier_xml("object", each, version) for each in identifiers)
    xml = f'<premis:object xmlns:premis="{WRITTEN[version]}" xmlns:xsi="{XSI}" xsi:type="premis:{category}">'
    return etree.fromstring(f"{xml}{inner}</premis:object>")


def event_xml(event: Event, version: str | None = None) -> str:
    """The event as text; `version` None means the one it was sent in (1.x as 2.3)."""
    version = version or event.emitted_version
    parts = [
        _start("event", event.attributes, event.version, version, _uses_xlink(event, version)),
        _identifier_xml(
            "event",
            Identifier(event.identifier_type, event.identifier_value, (), event.identifier_attributes),
            version,
        ),
        _term_xml("eventType", event.type),
        _leaf("eventDateTime", event.date if version == "3.0" or allowed_in_2(event.date) else rfc3339(event.at)),
        _details_3(event.details) if version == "3.0" else _details_2(event.details),
    ]
    parts.extend(_outcome_xml(outcome, version) for outcome in event.outcomes)
    parts.extend(_identifier_xml("linkingAgent", each, version) for each in event.agents)
    parts.extend(_identifier_xml("linkingObject", each, version) for each in event.objects)
    parts.append("</premis:event>")
    return "".join(parts)


def agent_xml(agent: Agent, version: str | None = None) -> str:
    """The agent as text; `version` None means the one it was sent in (1.x as 2.3)."""
    version = version or agent.emitted_version
    identifiers = (agent.identifier, *agent.more_identifiers)
    linked = version == "2.3" and (
        any(_xlinked("agent", each.attributes) for each in identifiers)
        or any(_xlinked(name.removesuffix("Identifier"), each.attributes) for name, each in _links_in(agent, version))
    )
    parts = [_start("agent", agent.attributes, agent.premis_version, version, linked)]
    parts.extend(_identifier_xml("agent", each, version) for each in identifiers)
    parts.extend(_term_xml("agentName", name) for name in (agent.name, *agent.more_names) if name)
    if agent.type:
        parts.append(_term_xml("agentType", agent.type))
    if agent.version and version == "3.0":
        parts.append(_leaf("agentVersion", agent.version))
    parts.extend(_leaf("agentNote", note) for note in agent.notes)
    parts.extend(_extensions("agentExtension", agent.extensions, version))
    parts.extend(
        _identifier_xml(name.removesuffix("Identifier"), each, version) for name, each in _links_in(agent, version)
    )
    parts.append("</premis:agent>")
    return "".join(parts)


def _links_in(agent: Agent, version: str) -> list[tuple[str, Identifier]]:
    """What the agent links to, in the order of the schema."""
    order = _AGENT_LINKS if version == "3.0" else _AGENT_LINKS[:2]
    return [(name, each) for name in order for link, each in agent.links if link == name]


def escaped(text: str) -> str:
    """Text as XML character data; characters that XML cannot hold become U+FFFD."""
    if _SPECIAL.search(text) is None:
        return str(text)
    if _NOT_XML.search(text):
        text = _NOT_XML.sub("�", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def quoted(text: str) -> str:
    """Text as the value of an XML attribute, without the quotes around it."""
    return escaped(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")


def _start(name: str, attributes: Attributes, sent: str | None, version: str, xlink: bool) -> str:
    given = dict(attributes)
    declared = f' xmlns:xlink="{XLINK}"' if xlink else ""
    identity = given.get("xmlID", "")
    xml_id = f' xmlID="{identity}"' if _NCNAME.fullmatch(identity) else ""
    shown = f' version="{version}"' if sent != version or "version" in given else ""
    return f'<premis:{name} xmlns:premis="{WRITTEN[version]}"{declared}{xml_id}{shown}>'


def _leaf(name: str, text: str) -> str:
    return f"<premis:{name}>{escaped(text)}</premis:{name}>"


def _term_xml(name: str, text: str) -> str:
    if not isinstance(text, Term):
        return _leaf(name, text)
    shown = f' authority="{quoted(text.authority)}"' if text.authority is not None else ""
    for attribute, uri in (("authorityURI", text.authority_uri), ("valueURI", text.value_uri)):
        if uri is not None and _URI.fullmatch(uri):
            shown += f' {attribute}="{quoted(uri)}"'
    return f"<premis:{name}{shown}>{escaped(text)}</premis:{name}>"


def _identifier_xml(stem: str, identifier: Identifier, version: str) -> str:
    name = f"{stem}Identifier"
    shown = _link_attributes(stem, identifier.attributes, version) if identifier.attributes else ""
    roles = "".join(_term_xml(f"{stem}Role", role) for role in identifier.roles) if stem in _WITH_ROLES else ""
    type_ = identifier.type if stem != "linkingEnvironment" else str(identifier.type)
    return (
        f"<premis:{name}{shown}>{_term_xml(f'{name}Type', type_)}"
        f"{_leaf(f'{name}Value', identifier.value)}{roles}</premis:{name}>"
    )


def _link_attributes(stem: str, attributes: Attributes, version: str) -> str:
    """xlink of 2.3 and simpleLink of 3.0 are turned into each other; the XML id that the element may have is kept."""
    given = dict(attributes)
    name = _XML_IDS.get(stem, "")
    shown = f' {name}="{given[name]}"' if _NCNAME.fullmatch(given.get(name, "")) else ""
    href = given.get("simpleLink") or given.get(f"{{{XLINK}}}href")
    if href is not None and not _URI.fullmatch(href):
        href = None
    if version == "3.0":
        return shown + (f' simpleLink="{quoted(href)}"' if href else "")
    words = {
        local: given.get(f"{{{XLINK}}}{local}") for local in ("type", "role", "arcrole", "title", "show", "actuate")
    }
    if href:
        words["type"] = "simple"
    for local, value in words.items():
        if value is None or value not in _XLINK_WORDS.get(local, {value}):
            continue
        if local in ("role", "arcrole") and not (value and _URI.fullmatch(value)):
            continue
        shown += f' xlink:{local}="{quoted(value)}"'
    return shown + (f' xlink:href="{quoted(href)}"' if href else "")


def _uses_xlink(event: Event, version: str) -> bool:
    """Whether a prefix is to be declared for what is written of the attributes of its identifiers."""
    return version == "2.3" and (
        _xlinked("event", event.identifier_attributes)
        or any(_xlinked("linkingAgent", each.attributes) for each in event.agents)
        or any(_xlinked("linkingObject", each.attributes) for each in event.objects)
    )


def _xlinked(stem: str, attributes: Attributes) -> bool:
    return bool(attributes) and " xlink:" in _link_attributes(stem, attributes, "2.3")


def _details_3(details: Sequence[str]) -> str:
    shown = []
    for detail in details:
        inner = _leaf("eventDetail", detail) if detail else ""
        if isinstance(detail, Detail):
            inner += "".join(_extensions("eventDetailExtension", detail.extensions, "3.0"))
        shown.append(f"<premis:eventDetailInformation>{inner}</premis:eventDetailInformation>" if inner else "")
    return "".join(shown)


def _details_2(details: Sequence[str]) -> str:
    text = "\n".join(filter(None, details))
    return _leaf("eventDetail", text) if text else ""


def _outcome_xml(outcome: Outcome, version: str) -> str:
    inner = _term_xml("eventOutcome", outcome.outcome) if outcome.outcome else ""
    for note in outcome.notes:
        shown = _leaf("eventOutcomeDetailNote", note) if note else ""
        if isinstance(note, Detail):
            shown += "".join(_extensions("eventOutcomeDetailExtension", note.extensions, version))
        if shown:
            inner += f"<premis:eventOutcomeDetail>{shown}</premis:eventOutcomeDetail>"
    return f"<premis:eventOutcomeInformation>{inner}</premis:eventOutcomeInformation>" if inner else ""


def _extensions(name: str, extensions: Sequence[str], version: str) -> list[str]:
    """Extension elements, then (2.3) mdSec ones, which 3.0 knows only inside an extension."""
    shown, sections = [], []
    for extension in extensions:
        if version == "2.3" and _MD_SEC.match(extension) and V2 in extension:
            sections.append(extension)
        elif extension or version == "2.3":
            shown.append(f"<premis:{name}>{extension}</premis:{name}>")
    return shown + sections
