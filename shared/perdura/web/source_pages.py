"""Sources: how each is doing, and searching one to choose what to preserve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.models.sources import SearchQuery
from perdura.api.queries import sources
from perdura.api.resources import source_health
from perdura.api.resources import sources as resource
from perdura.errors import PerduraError
from perdura.web.query_string import read_query
from perdura.web.visit import Visit


def listing(visit: Visit) -> Response:
    """All sources; those that were used come first."""
    visit.require(Permission.READ)
    found = source_health.listing(visit)
    return visit.page("sources.html", sources=sorted(found, key=lambda source: (source.archives == 0, source.id)))


def search(visit: Visit, source: str) -> Response:
    """A search in one source."""
    visit.require(Permission.DEPOSIT)
    hits, problem, query = None, "", read_query(visit, SearchQuery)
    here: Mapping[str, Sequence[UUID]] = {}
    if query.q.strip():
        try:
            hits = resource.search_source(visit, source, query)
            recids = [hit.recid for hit in hits.items]
            here = sources.archives_of(visit.connection, visit.principal, source, recids)
        except PerduraError as error:
            problem = error.message
    return visit.page("source_search.html", source=source, query=query, hits=hits, problem=problem, here=here)
