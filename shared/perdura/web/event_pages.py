"""PREMIS events of all Archives, newest first."""

from __future__ import annotations

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import cursors
from perdura.api.log_door import sight_of
from perdura.api.queries import premis_search
from perdura.premis.query import Filter
from perdura.web import days, paging
from perdura.web.visit import Visit

PAGE = 50
FILTERS = ("type", "outcome", "from", "to", "object", "agent")


def listing(visit: Visit) -> Response:
    """Events, filtered by type, outcome, days, object and agent; every filter is in the address."""
    visit.require(Permission.READ)
    wanted = {name: visit.request.args.get(name, "").strip()[:200] for name in FILTERS}
    cursor = visit.request.args.get("cursor", "")
    start, end = (days.named(name, wanted[name]) for name in ("from", "to"))
    found = premis_search.page(
        visit.connection,
        visit.principal,
        Filter(
            exact_type=wanted["type"] or None,
            exact_outcome=wanted["outcome"] or None,
            start=start.start if start else None,
            end=end.end if end else None,
            object=wanted["object"] or None,
            agent=wanted["agent"] or None,
            sight=sight_of(visit.principal),
        ),
        limit=PAGE,
        before=cursors.decode_sequence(cursor) if cursor else None,
    )
    last = cursors.encode_sequence(found.last) if found.last is not None else None
    types, outcomes = premis_search.choices(visit.connection)
    return visit.page(
        "events.html",
        events=found.items,
        wanted=wanted,
        types=types,
        outcomes=outcomes,
        following=paging.following("/events", last, **{name: value or None for name, value in wanted.items()}),
        premis_url=visit.services.settings.premis_url,
    )
