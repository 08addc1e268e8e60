"""PREMIS XML: reading 1.0 to 3.0, writing 2.3 and 3.0 (premis.md 2)."""

from perdura.premis.xml.lengths import LONGEST_VALUE, check_agent_lengths, check_lengths
from perdura.premis.xml.names import NAMESPACES, V2, V3
from perdura.premis.xml.parse import BadPremis, NotXml, check_extension, parse, refuse_doctype
from perdura.premis.xml.reader import (
    DEFAULT_AGENT_TYPE,
    DEFAULT_IDENTIFIER_TYPE,
    agent_from,
    agents_in,
    canonical,
    event_from,
    events_in,
    is_uuid,
    sent_identifier,
)
from perdura.premis.xml.usual import received
from perdura.premis.xml.writer import (
    agent_element,
    agent_xml,
    document,
    document_pieces,
    escaped,
    event_element,
    event_xml,
    object_element,
    quoted,
)

__all__ = [
    "DEFAULT_AGENT_TYPE",
    "DEFAULT_IDENTIFIER_TYPE",
    "LONGEST_VALUE",
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
    "check_agent_lengths",
    "check_extension",
    "check_lengths",
    "document",
    "document_pieces",
    "escaped",
    "event_element",
    "event_from",
    "event_xml",
    "events_in",
    "is_uuid",
    "object_element",
    "parse",
    "quoted",
    "received",
    "refuse_doctype",
    "sent_identifier",
]
