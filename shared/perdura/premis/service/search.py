"""Searching events: the form's parameters, and the JSON that clients walk through (premis.md 1.9)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.engine import Connection
from werkzeug.wrappers import Response

from perdura.errors import Broken
from perdura.premis import query, vocabulary
from perdura.premis.dates import BadDate, Period, period
from perdura.premis.listed import Listed, moment
from perdura.premis.model import rfc3339
from perdura.premis.query import PAGE, Filter, Order
from perdura.premis.service import parameters
from perdura.premis.service.call import Call, Refused, shown, text
from perdura.premis.service.parameters import Ordering, link

LONGEST_OBJECT = 64
_DEFAULT = Ordering(Order.ADDED, descending=True)
_ECHOED = ("event_outcome", "event_type", "start_date", "end_date", "linked_object_id")


class Choices(BaseModel):
    """Choices of the search forms: (value, label) pairs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_type: tuple[tuple[str, str], ...] = vocabulary.default_choices(vocabulary.EVENT_TYPE)
    event_outcome: tuple[tuple[str, str], ...] = vocabulary.default_choices(vocabulary.EVENT_OUTCOME)


@lru_cache(maxsize=4)
def choices(path: str | None) -> Choices:
    """The configured choices, UNT's when none are; raises Broken for a file that is not of the documented form."""
    if path is None:
        return Choices()
    try:
        return Choices.model_validate_json(Path(path).read_bytes())
    except (OSError, ValidationError) as error:
        raise Broken(f"PERDURA_PREMIS_CHOICES: {path} is no file of choices.") from error


@dataclass(slots=True)
class Search:
    """A search as it was sent: its filter, what is wrong with it by field, and its dates as periods."""

    sent: dict[str, str]
    matching: Filter
    order: Ordering
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    dates: dict[str, Period] = field(default_factory=dict)


def read(call: Call, connection: Connection) -> Search:
    """Read the parameters of a search; what is invalid is listed, not raised."""
    sent = call.parameters(*parameters.SEARCH)
    found = Search(sent, Filter(), parameters.ordering(sent, _DEFAULT))
    configured = choices(call.settings.premis_choices)
    for name, terms, kind in (
        ("event_outcome", configured.event_outcome, vocabulary.EVENT_OUTCOME),
        ("event_type", configured.event_type, vocabulary.EVENT_TYPE),
    ):
        value = sent.get(name)
        if value is not None and not _known(connection, name, value, terms, kind):
            message = f"Select a valid choice. {shown(value)} is not one of the available choices."
            found.problems.append((name, "invalid_choice", message))
    for name in ("start_date", "end_date"):
        if name in sent:
            try:
                found.dates[name] = period(sent[name], call.zone)
            except BadDate:
                found.problems.append((name, "invalid", "Enter a valid date."))
    named = sent.get("linked_object_id")
    if named is not None and len(named) > LONGEST_OBJECT:
        message = f"Ensure this value has at most {LONGEST_OBJECT} characters (it has {len(named)})."
        found.problems.append(("linked_object_id", "max_length", message))
    start, end = found.dates.get("start_date"), found.dates.get("end_date")
    found.matching = Filter(
        type=sent.get("type"),
        outcome=sent.get("outcome"),
        exact_type=sent.get("event_type"),
        exact_outcome=sent.get("event_outcome"),
        start=start.start if start else None,
        end=end.end if end else None,
        object=sent.get("link_object_id"),
        named_object=named,
        agent=sent.get("agent"),
        sight=call.sight,
    )
    return found


def json_page(call: Call) -> Response:
    """GET /event/search.json"""
    with call.reading() as connection:
        search = read(call, connection)
        if search.problems:
            lines = "".join(f"{name}:\n\t{code}: {message}\n" for name, code, message in search.problems)
            return text(400, f"Invalid parameters.\n{lines}")
        number = parameters.page_number(search.sent.get("page"))
        page = page_of(connection, search, number)
    if number > 1 and not page.events:
        raise Refused(400, parameters.NO_SUCH_PAGE)
    answer = {
        "feed": {
            "entry": [_entry(event) for event in page.events],
            "link": _links(call, search, page, number),
            "opensearch:Query": {name: value for name, value in search.sent.items() if name not in ("page", "cursor")},
            "opensearch:itemsPerPage": PAGE,
            "opensearch:startIndex": str((number - 1) * PAGE + 1),
            "opensearch:totalResults": page.total,
            "title": "Premis Event Search",
        }
    }
    if page.estimated:
        answer["feed"]["opensearch:totalResultsEstimated"] = True
    return Response(json.dumps(answer, ensure_ascii=False), content_type="application/json")


def page_of(connection: Connection, search: Search, number: int) -> query.Page:
    """One page of the matches, without their XML."""
    place = parameters.read_cursor(search.sent.get("cursor"), search.order)
    return query.page(
        connection,
        search.matching,
        order=search.order.order,
        descending=search.order.descending,
        offset=(number - 1) * PAGE,
        place=place,
        bare=True,
    )


def page_links(url: str, search: Search, page: query.Page, number: int, sent: Mapping[str, str]) -> dict[str, str]:
    """Links to the page itself and to others, by relation."""
    pages = max(1, -(-page.total // PAGE), number)
    kept = {name: value for name, value in sent.items() if name not in ("page", "cursor")}
    links = {
        "self": link(url, kept, page=number),
        "first": link(url, kept, page=1),
        "last": link(url, kept, page=pages),
    }
    if number > 1:
        links["previous"] = link(url, kept, page=number - 1)
        if page.events and number > 2:
            mark = parameters.cursor(page.events[0], search.order, backwards=True)
            links["previous"] = link(url, kept, page=number - 1, cursor=mark)
    if page.more and page.events:
        mark = parameters.cursor(page.events[-1], search.order, backwards=False)
        links["next"] = link(url, kept, page=number + 1, cursor=mark)
    return links


def _links(call: Call, search: Search, page: query.Page, number: int) -> list[dict[str, str]]:
    sent = parameters.sent_with_blanks(call, parameters.SEARCH)
    echoed = {name: sent.pop(name, "") for name in _ECHOED} if any(name in sent for name in _ECHOED) else {}
    for name, found in search.dates.items():
        echoed[name] = _iso(name, found, call.zone)
    urls = page_links(f"{call.urls.base}/event/search.json", search, page, number, {**echoed, **sent})
    return [{"href": href, "rel": rel} for rel, href in urls.items()]


def _iso(name: str, found: Period, zone: tzinfo) -> str:
    """A date of a query in ISO form, which means the same period again: a day where days are named, else an instant."""
    start, end = _day(found.start, zone), _day(found.end, zone)
    if name == "start_date":
        return start.isoformat() if start is not None else rfc3339(found.start)
    if start is not None and end is not None and start < end:
        return (end - timedelta(days=1)).isoformat()
    return rfc3339(found.end - timedelta(microseconds=1))


def _day(instant: datetime, zone: tzinfo) -> date | None:
    """The day that begins at an instant in a zone, None where none does."""
    try:
        local = instant.astimezone(zone)
    except (ValueError, OverflowError):
        return None
    return local.date() if local.time() == time() else None


def _entry(event: Listed) -> dict[str, Any]:
    return {
        "date": moment(event.at_micro),
        "event_type": event.type,
        "identifier": event.identifier,
        "linked_objects": event.objects,
        "outcome": event.outcome,
    }


def _known(connection: Connection, name: str, value: str, terms: tuple[tuple[str, str], ...], kind: str) -> bool:
    """Whether a value is a configured choice, a vocabulary's term, or occurs in the log."""
    if value in {term for term, _ in terms} or value in vocabulary.known_values(kind):
        return True
    wanted = Filter(exact_type=value) if name == "event_type" else Filter(exact_outcome=value)
    return bool(query.kinds_of(connection, wanted).rows)
