"""Pages for people (premis.md 1.10): self-contained, without script, every value escaped by the templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, select_autoescape
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from perdura.errors import Rejected
from perdura.premis import agents, log, query, vocabulary
from perdura.premis.model import Agent, Identifier, rfc3339
from perdura.premis.service import agents as agent_service
from perdura.premis.service import events, forms, parameters, strict
from perdura.premis.service.call import Call, Refused, shown
from perdura.premis.service.search import choices, page_links, page_of
from perdura.premis.service.search import read as read_search
from perdura.premis.xml import DEFAULT_AGENT_TYPE, check_agent_lengths

RECENT = 10
BARS = 12
DAYS = 60
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_ASSETS = {"premis.css": "text/css; charset=utf-8"}
_FORM_LIMIT = 64 * 1024


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("perdura.premis.service"), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    environment.filters |= {
        "moment": rfc3339,
        "label": vocabulary.label,
        "success": vocabulary.is_success,
        "part": lambda value: quote(value, safe=""),
    }
    return environment


def recent(call: Call) -> Response:
    """GET /event/: the total and the newest events by date."""
    with call.reading() as connection:
        page = query.page(connection, query.Filter(sight=call.sight), descending=True, limit=RECENT, bare=True)
    return _page(call, "recent.html", total=page.total, events=page.events)


def event(call: Call, identifier: str) -> Response:
    """GET /event/<id>/"""
    with call.reading() as connection:
        stored = events.found(connection, identifier, call.sight)
        versions = log.history(connection, stored.event_id) if stored else []
    if stored is None:
        raise Refused(404, f"There is no event for identifier {shown(identifier)}.")
    return _page(call, "event.html", stored=stored, event=stored.event, versions=versions)


def search(call: Call) -> Response:
    """GET /event/search/: the form, and what matches it."""
    with call.reading() as connection:
        found = read_search(call, connection)
        page, number, status = query.Page([], False, 0), 1, 200
        if not found.problems:
            try:
                number = parameters.page_number(found.sent.get("page"))
                page = page_of(connection, found, number)
            except Refused:
                status = 404
            if number > 1 and not page.events:
                status = 404
    links = page_links(f"{call.urls.base}/event/search/", found, page, number, found.sent) if status == 200 else {}
    return _page(
        call,
        "search.html",
        status,
        search=found,
        page=page,
        number=number,
        links=links,
        neighbours=_neighbours(call, found.sent, number, page),
        choices=choices(call.settings.premis_choices),
        missing=status == 404,
    )


def statistics(call: Call) -> Response:
    """GET /event/statistics/: counts by type, outcome and day, drawn."""
    with call.reading() as connection:
        counted = forms.counts(connection, call.sight)
    days = list(counted["day"].items())[-DAYS:]
    return _page(
        call,
        "statistics.html",
        total=counted["total"],
        types=_bars(counted["type"]),
        outcomes=_bars(counted["outcome"]),
        days=_bars(dict(days), DAYS),
    )


def agent_list(call: Call) -> Response:
    """GET /agent/: all agents."""
    with call.reading() as connection:
        found = agents.listed(connection)
    return _page(call, "agents.html", agents=found)


def agent(call: Call, identifier: str) -> Response:
    """GET /agent/<id>/"""
    stored = agent_service.existing(call, identifier, "Agent not found.")
    return _page(call, "agent.html", stored=stored, agent=stored.agent, url=call.urls.page("agent", stored.identifier))


def new_agent(call: Call) -> Response:
    """GET /agent/new/: the form."""
    return _agent_form(call, {"type": "Software"}, editing=False)


def edit_agent(call: Call, identifier: str) -> Response:
    """GET /agent/<id>/edit/: the form, filled in."""
    stored = agent_service.existing(call, identifier, "Agent not found.")
    values = {"identifier": identifier, "name": stored.name, "type": stored.type, "note": _note(stored.agent)}
    return _agent_form(call, values, editing=True)


def save_agent(call: Call) -> Response:
    """POST /agent/: make or change an agent, by those who know a token."""
    call.request.max_content_length = _FORM_LIMIT
    try:
        sent = {name: value.strip().replace("\r\n", "\n") for name, value in call.request.form.items()}
    except RequestEntityTooLarge as error:
        raise Refused(413, "The form is too large.") from error
    editing = sent.get("editing") == "yes"
    try:
        if sent.get("token"):
            call = replace(call, token=sent["token"])
        call.writer()
        made = _form_agent(sent)
        check_agent_lengths(made)
        strict.check_agent(call, made)
        with call.engine.begin() as connection:
            if editing:
                before = agents.find(connection, made.identifier.value, to_change=True)
                if before is None:
                    raise Refused(404, "Agent not found.")
                agents.replace(connection, _edited(before.agent, made))
            else:
                agents.create(connection, made)
            call.audit(connection, f"premis.agent.{'replace' if editing else 'create'}", 303, made.identifier.value)
    except (Refused, Rejected) as error:
        status = error.status if isinstance(error, Refused) else 409 if error.code == "agent-exists" else 400
        return _agent_form(call, sent, editing=editing, problem=error.message, status=status)
    return redirect(call.urls.page("agent", made.identifier.value), 303)


def static(_call: Call, name: str) -> Response:
    """GET /static/<name>"""
    if name not in _ASSETS:
        raise Refused(404, "There is nothing here.")
    data = files("perdura.premis.service").joinpath("assets", name).read_bytes()
    response = Response(data, content_type=_ASSETS[name])
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _form_agent(sent: Mapping[str, str]) -> Agent:
    for name in ("identifier", "name", "type"):
        if not sent.get(name):
            raise Refused(400, f"{name} is missing.")
    if any(ord(character) < 32 and character not in "\t\r\n" for value in sent.values() for character in value):
        raise Refused(400, "Control characters are not accepted.")
    notes = tuple(line for line in [sent.get("note", "")] if line)
    identifier = Identifier(DEFAULT_AGENT_TYPE, sent["identifier"])
    return Agent(identifier, sent["name"], sent["type"], notes)


def _edited(old: Agent, made: Agent) -> Agent:
    """The agent with what the form shows of it changed; what it does not show stays."""
    return replace(
        old,
        name=old.name if made.name == old.name else made.name,
        type=old.type if made.type == old.type else made.type,
        notes=old.notes if made.notes == (_note(old),) else made.notes,
    )


def _note(agent: Agent) -> str:
    return "\n".join(agent.notes)


def _agent_form(
    call: Call, values: Mapping[str, str], *, editing: bool, problem: str = "", status: int = 200
) -> Response:
    types = [*("Personal", "Organization", "Event", "Software"), *(e.label for e in vocabulary.entries("agentType"))]
    shown_values = {name: value for name, value in values.items() if name != "token"}
    return _page(call, "agent_form.html", status, values=shown_values, editing=editing, problem=problem, types=types)


def _bars(counted: Mapping[str, int], most: int = BARS) -> list[tuple[str, int, int]]:
    """(value, number, width in per cent of the largest)."""
    shown_counts = list(counted.items())[:most]
    largest = max((number for _, number in shown_counts), default=0) or 1
    return [(value, number, max(1, round(100 * number / largest))) for value, number in shown_counts]


def _neighbours(call: Call, sent: Mapping[str, str], number: int, page: query.Page) -> list[tuple[int, str]]:
    pages = max(1, -(-page.total // query.PAGE), number)
    kept = {name: value for name, value in sent.items() if name not in ("page", "cursor")}
    url = f"{call.urls.base}/event/search/"
    return [
        (near, parameters.link(url, kept, page=near)) for near in range(max(1, number - 3), min(pages, number + 3) + 1)
    ]


def _page(call: Call, template: str, status: int = 200, **values: Any) -> Response:
    body = (
        _templates()
        .get_template(template)
        .render(message=call.settings.premis_message, title=call.settings.premis_author, base=call.urls.base, **values)
    )
    response = Response(body, status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    return response
