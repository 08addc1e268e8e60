"""Atom entries and feeds of events and agents, as text (premis.md 1.2, 1.6, 1.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from perdura.premis.agents import StoredAgent
from perdura.premis.listed import Listed, moment
from perdura.premis.log import Stored
from perdura.premis.model import rfc3339
from perdura.premis.service.call import Urls
from perdura.premis.xml import escaped, quoted
from perdura.premis.xml.names import APP, ATOM, OPENSEARCH

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
ENTRY_TYPE = "application/atom+xml;type=entry"
FEED_TYPE = "application/atom+xml;type=feed"


@dataclass(frozen=True, slots=True)
class Paging:
    """Links of a feed by relation, and the numbers of OpenSearch."""

    links: Sequence[tuple[str, str]]
    total: int
    start: int
    size: int


def service(urls: Urls, title: str) -> str:
    """The service document."""
    collections = "".join(
        f'<collection href="{quoted(urls.collection(kind))}"><atom:title>{kind}</atom:title>'
        f"<accept>{ENTRY_TYPE}</accept></collection>"
        for kind in ("event", "agent")
    )
    return (
        f'{DECLARATION}<service xmlns="{APP}" xmlns:atom="{ATOM}"><workspace>'
        f"<atom:title>{escaped(title)}</atom:title>{collections}</workspace></service>"
    )


def event_entry(event: Stored, urls: Urls, author: str, version: str | None) -> str:
    """The entry document of one event."""
    base = quoted(urls.base)
    title, encoded = _shown(event.identifier)
    permalink, page = f"{base}/APP/event/{encoded}/", f"{base}/event/{encoded}"
    recorded = rfc3339(event.recorded_at)
    changed = recorded if event.changed_at is event.recorded_at else rfc3339(event.changed_at)
    other = "2.3" if event.premis_version in (None, "3.0") else "3.0"
    return (
        f'{DECLARATION}<entry xmlns="{ATOM}"><title>{title}</title><id>{permalink}</id>'
        f"<published>{recorded}</published><updated>{changed}</updated>"
        f'<app:edited xmlns:app="{APP}">{changed}</app:edited><author><name>{escaped(author)}</name></author>'
        f'<link rel="self" type="{ENTRY_TYPE}" href="{permalink}"/>'
        f'<link rel="edit" type="{ENTRY_TYPE}" href="{permalink}"/>'
        f'<link rel="alternate" type="text/html" href="{page}/"/>'
        f'<link rel="alternate" type="application/xml" href="{page}.premis.xml"/>'
        f'<link rel="alternate" type="application/json" href="{page}.json"/>'
        f'<link rel="alternate" type="{ENTRY_TYPE}" href="{permalink}?version={other}"/>'
        f'<content type="application/xml">{event.xml_in(version)}</content></entry>'
    )


def event_feed(
    events: Sequence[Listed], urls: Urls, author: str, version: str | None, paging: Paging, updated: datetime
) -> str:
    """A page of the event collection."""
    parts = [_feed_start(urls.collection("event"), "Event Entry Feed", author, updated, paging)]
    base = quoted(urls.base)
    for event in events:
        title, encoded = _shown(event.identifier)
        parts.append(
            f"<entry><title>{title}</title><id>{base}/APP/event/{encoded}/</id>"
            f"<published>{moment(event.recorded_micro)}</published><updated>{moment(event.changed_micro)}</updated>"
            f'<link rel="alternate" type="text/html" href="{base}/event/{encoded}/"/>'
            f'<content type="application/xml">{event.xml_in(version)}</content></entry>\n'
        )
    parts.append("</feed>")
    return "".join(parts)


def agent_entry(agent: StoredAgent, urls: Urls, author: str, version: str | None, *, title: str | None = None) -> str:
    """The entry document of one agent; its title is the name unless another is given."""
    permalink = quoted(urls.member("agent", agent.identifier))
    return (
        f'{DECLARATION}<entry xmlns="{ATOM}"><title>{escaped(agent.name if title is None else title)}</title>'
        f"<id>{permalink}</id><updated>{rfc3339(agent.changed_at)}</updated>"
        f"<author><name>{escaped(author)}</name></author>"
        f'<link rel="alternate" type="text/html" href="{quoted(urls.page("agent", agent.identifier))}"/>'
        f'<link rel="edit" type="{ENTRY_TYPE}" href="{permalink}"/>'
        f'<content type="application/xml">{agent.xml_in(version)}</content></entry>'
    )


def agent_feed(
    agents: Sequence[StoredAgent], urls: Urls, author: str, version: str | None, paging: Paging, updated: datetime
) -> str:
    """A page of the agent collection."""
    parts = [_feed_start(urls.collection("agent"), "Agent Entry Feed", author, updated, paging)]
    for agent in agents:
        parts.append(
            f"<entry><title>{escaped(agent.name)}</title><id>{quoted(urls.member('agent', agent.identifier))}</id>"
            f"<updated>{rfc3339(agent.changed_at)}</updated>"
            f'<link rel="alternate" type="text/html" href="{quoted(urls.page("agent", agent.identifier))}"/>'
            f'<content type="application/xml">{agent.xml_in(version)}</content></entry>'
        )
    parts.append("</feed>")
    return "".join(parts)


def _shown(identifier: str) -> tuple[str, str]:
    """An identifier as XML text, and as a segment of a URL (which needs no quoting as XML)."""
    if identifier.isalnum() and identifier.isascii():
        return identifier, identifier
    return escaped(identifier), quote(identifier, safe="")


def _feed_start(identity: str, title: str, author: str, updated: datetime, paging: Paging) -> str:
    links = "".join(f'<link rel="{rel}" href="{quoted(href)}"/>' for rel, href in paging.links)
    return (
        f'{DECLARATION}<feed xmlns="{ATOM}" xmlns:opensearch="{OPENSEARCH}"><id>{quoted(identity)}</id>'
        f"<title>{title}</title><author><name>{escaped(author)}</name></author>"
        f"<updated>{rfc3339(updated)}</updated>{links}"
        f"<opensearch:totalResults>{paging.total}</opensearch:totalResults>"
        f"<opensearch:startIndex>{paging.start}</opensearch:startIndex>"
        f"<opensearch:itemsPerPage>{paging.size}</opensearch:itemsPerPage>\n"
    )
