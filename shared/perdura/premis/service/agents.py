"""AtomPub of agents (premis.md 1.12)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from lxml import etree
from sqlalchemy.engine import Connection
from werkzeug.wrappers import Response

from perdura.premis import agents
from perdura.premis.agents import StoredAgent
from perdura.premis.merging import merged_agent
from perdura.premis.model import Agent
from perdura.premis.service import atom, parameters, strict
from perdura.premis.service.call import Call, Refused, shown, text
from perdura.premis.service.parameters import link
from perdura.premis.xml import BadPremis, agent_from, agents_in, parse

PAGE = 20
NO_SUCH_PAGE = "That page doesn't exist.\n"


def feed(call: Call) -> Response:
    """GET /APP/agent/"""
    sent = call.parameters("page", "version")
    version = parameters.version(sent)
    try:
        number = parameters.page_number(sent.get("page"))
    except Refused as error:
        raise Refused(400, NO_SUCH_PAGE) from error
    with call.reading() as connection:
        total = agents.count(connection)
        pages = max(1, -(-total // PAGE))
        if number > pages:
            raise Refused(400, NO_SUCH_PAGE)
        found = agents.listed(connection, (number - 1) * PAGE, PAGE)
    url = call.urls.collection("agent")
    own = parameters.sent_with_blanks(call, ("page", "version"))
    targets = {"first": 1, "previous": number - 1, "next": number + 1, "last": pages}
    links = [("self", link(url, own))]
    links += [(rel, link(url, sent, page=page)) for rel, page in targets.items() if 1 <= page <= pages]
    updated = max((each.changed_at for each in found), default=datetime(1970, 1, 1, tzinfo=UTC))
    paging = atom.Paging(links, total, (number - 1) * PAGE + 1, PAGE)
    body = atom.agent_feed(found, call.urls, call.settings.premis_author, version, paging, updated)
    return Response(body, content_type=atom.FEED_TYPE)


def create(call: Call) -> Response:
    """POST /APP/agent/"""
    call.writer()
    agent = _sent(call)
    strict.check_agent(call, agent)
    with call.engine.begin() as connection:
        stored = agents.create(connection, agent)
        call.audit(connection, "premis.agent.create", 201, stored.identifier)
    response = _entry(call, stored, None, 201)
    response.headers["Location"] = call.urls.member("agent", stored.identifier)
    return response


def entry(call: Call, identifier: str) -> Response:
    """GET /APP/agent/<id>/"""
    version = parameters.version(call.parameters("version"))
    return _entry(call, existing(call, identifier, f"There is no agent for identifier '{shown(identifier)}'."), version)


def put(call: Call, identifier: str) -> Response:
    """PUT /APP/agent/<id>/: what is absent is kept."""
    call.writer()
    sent = _sent(call, partial=True)
    with call.engine.begin() as connection:
        stored = _to_change(call, connection, identifier)
        if sent.identifier.value != identifier:
            raise Refused(400, f'URI-identifier mismatch ("{shown(sent.identifier.value)}" != "{shown(identifier)}")')
        agent = merged_agent(stored.agent, sent)
        strict.check_agent(call, agent)
        changed = agents.replace(connection, agent)
        call.audit(connection, "premis.agent.replace", 200, identifier)
    return _entry(call, changed or stored, None)


def delete(call: Call, identifier: str) -> Response:
    """DELETE /APP/agent/<id>/"""
    call.writer()
    with call.engine.begin() as connection:
        _to_change(call, connection, identifier)
        agents.delete(connection, identifier)
        call.audit(connection, "premis.agent.delete", 200, identifier)
    return text(200, f"Deleted {shown(identifier)}.")


def _to_change(call: Call, connection: Connection, identifier: str) -> StoredAgent:
    """The agent, which nobody else changes meanwhile; raises Refused 404, or 412 where `If-Match` names another."""
    stored = agents.find(connection, identifier, to_change=True)
    if stored is None:
        raise Refused(404, f"There is no agent for identifier '{shown(identifier)}'.")
    call.unchanged(*(_tag(stored, version) for version in (None, "2.3", "3.0")))
    return stored


def _tag(stored: StoredAgent, version: str | None) -> str:
    state = hashlib.sha256(f"{stored.identifier}\0{stored.changed_at.isoformat()}\0{stored.xml}".encode())
    return f"{state.hexdigest()[:32]}-{version or ''}"


def existing(call: Call, identifier: str, otherwise: str) -> StoredAgent:
    """The agent of that identifier; raises Refused 404 with the text given."""
    with call.reading() as connection:
        stored = agents.find(connection, identifier)
    if stored is None:
        raise Refused(404, otherwise)
    return stored


def _sent(call: Call, *, partial: bool = False) -> Agent:
    call.media()
    root: etree._Element = parse(call.body(call.settings.body_limit))
    found = agents_in(root)
    if len(found) != 1:
        raise BadPremis(f"expected exactly one agent, found {len(found)}.")
    return agent_from(found[0], partial=partial)


def _entry(call: Call, stored: StoredAgent, version: str | None, status: int = 200) -> Response:
    body = atom.agent_entry(stored, call.urls, call.settings.premis_author, version)
    response = Response(body, status, content_type=atom.ENTRY_TYPE)
    response.set_etag(_tag(stored, version))
    response.last_modified = stored.changed_at
    return response
