"""PREMIS XML: reading 1.0 to 3.0, writing 2.3 and 3.0 (premis.md 2)."""

from perdura.premis.xml.names import NAMESPACES, V2, V3
from perdura.premis.xml.parse import NotXml, parse
from perdura.premis.xml.reader import (
    BadPremis,
    agent_from,
    agents_in,
    canonical,
    event_from,
    events_in,
)
from perdura.premis.xml.writer import (
    agent_element,
    agent_xml,
    document,
    event_element,
    event_xml,
    object_element,
)

__all__ = [
    "NAMESPACES",
    "V2",
    "V3",
    "BadPremis",
    "NotXml",
    "agent_element",
    "agent_from",
    "agent_xml",
    "agents_in",
    "canonical",
    "document",
    "event_element",
    "event_from",
    "event_xml",
    "events_in",
    "object_element",
    "parse",
]
