"""Collections for people: the list, one in numbers, and changing them."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import cursors, presentation
from perdura.api.models.collections import CollectionChange, CollectionQuery, CollectionRequest
from perdura.api.problems import Problem, not_found, problem_of
from perdura.api.queries import collections, facets, finding
from perdura.api.queries.criteria import Criteria
from perdura.api.resources import collections as resource
from perdura.api.sight import seen
from perdura.errors import Conflict
from perdura.registry import collections as registry
from perdura.web import paging
from perdura.web.query_string import checked, read_query
from perdura.web.visit import Visit, see_other

SHOWN = 200
NEWEST = 10
NOTHING = {"name": "", "description": "", "restricted": ""}
"""The form of a collection when nothing was sent yet."""


def listing(visit: Visit) -> Response:
    """All collections by name."""
    visit.require(Permission.READ)
    return _page(visit)


def _page(visit: Visit, *, problem: Problem | None = None, sent: Mapping[str, str] = NOTHING) -> Response:
    query = read_query(visit, CollectionQuery)
    after = cursors.decode(query.cursor, 1)[0] if query.cursor else None
    rows = collections.page(visit.connection, visit.principal, limit=SHOWN + 1, after=after, part=query.q)
    last = cursors.encode(rows[SHOWN - 1].name) if len(rows) > SHOWN else None
    return visit.page(
        "collections.html",
        status=problem.status if problem is not None else 200,
        collections=[resource.answer(row) for row in rows[:SHOWN]],
        query=query,
        following=paging.following("/collections", last, q=query.q or None),
        problem=problem,
        sent=sent,
    )


def create(visit: Visit) -> Response:
    """Make a collection."""
    visit.require(Permission.OPERATE)
    fields = visit.form(tuple(NOTHING))
    try:
        wanted = checked(CollectionRequest, _values(fields))
        made = registry.create(visit.connection, wanted.name, wanted.description, restricted=wanted.restricted)
    except (Problem, Conflict) as refused:
        return _page(visit, problem=problem_of(refused), sent=fields)
    visit.objects.append(made)
    return see_other(f"/collections/{made}")


def show(visit: Visit, collection_id: UUID) -> Response:
    """One collection in numbers, and its newest members."""
    visit.require(Permission.READ)
    return _one(visit, collection_id)


def _one(visit: Visit, collection_id: UUID, *, problem: Problem | None = None) -> Response:
    row = collections.find(visit.connection, visit.principal, collection_id)
    if row is None:
        raise not_found("collection")
    criteria = Criteria(collection=collection_id)
    return visit.page(
        "collection.html",
        status=problem.status if problem is not None else 200,
        problem=problem,
        collection=resource.answer(row),
        found=presentation.facets(facets.facets(visit.connection, visit.principal, criteria)),
        archives=[
            presentation.summary(member)
            for member in finding.page(visit.connection, visit.principal, criteria, limit=NEWEST)
        ],
    )


def change(visit: Visit, collection_id: UUID) -> Response:
    """Rename or describe a collection."""
    visit.require(Permission.OPERATE)
    try:
        wanted = checked(CollectionChange, _values(visit.form(tuple(NOTHING))))
        registry.change(
            visit.connection,
            collection_id,
            name=wanted.name,
            description=wanted.description,
            restricted=wanted.restricted,
        )
    except (Problem, Conflict) as refused:
        return _one(visit, collection_id, problem=problem_of(refused))
    return see_other(f"/collections/{collection_id}")


def remove(visit: Visit, collection_id: UUID) -> Response:
    """Forget a collection; its Archives stay. One that schedules fill is shown again, with what is in the way."""
    visit.require(Permission.OPERATE)
    visit.form(())
    try:
        registry.remove(visit.connection, collection_id)
    except Conflict as refused:
        return _one(visit, collection_id, problem=problem_of(refused))
    return see_other("/collections")


def add_archive(visit: Visit, archive_id: UUID) -> Response:
    """Put one Archive into the collection of that name, which is made when there is none."""
    visit.require(Permission.OPERATE)
    name = checked(CollectionRequest, {"name": visit.form(("name",))["name"]}).name
    seen(visit, archive_id)
    found = collections.named(visit.connection, visit.principal, name)
    collection = found.id if found is not None else registry.create(visit.connection, name)
    registry.add(visit.connection, collection, [archive_id])
    return see_other(f"/archives/{archive_id}")


def _values(fields: Mapping[str, str]) -> dict[str, object]:
    return {**fields, "restricted": bool(fields["restricted"])}
