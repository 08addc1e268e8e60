"""PREMIS events of all Archives, newest first."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import cursors
from perdura.api.queries import premis_search
from perdura.web.visit import Visit

PAGE = 50


def listing(visit: Visit) -> Response:
    """Events, filtered by type, outcome and object; every filter is in the address."""
    visit.require(Permission.READ)
    wanted = {name: visit.request.args.get(name, "").strip()[:200] for name in ("type", "outcome", "object")}
    cursor = visit.request.args.get("cursor", "")
    found = premis_search.page(
        visit.connection,
        visit.principal,
        premis_search.Criteria(
            type=wanted["type"] or None, outcome=wanted["outcome"] or None, object=wanted["object"] or None
        ),
        limit=PAGE,
        before=cursors.decode_sequence(cursor) if cursor else None,
    )
    following = None
    if found.last is not None:
        given = {name: value for name, value in wanted.items() if value}
        following = f"/events?{urlencode(given | {'cursor': cursors.encode_sequence(found.last)})}"
    types, outcomes = premis_search.choices(visit.connection)
    return visit.page(
        "events.html",
        events=found.items,
        wanted=wanted,
        types=types,
        outcomes=outcomes,
        following=following,
        premis_url=visit.services.settings.premis_url,
    )
