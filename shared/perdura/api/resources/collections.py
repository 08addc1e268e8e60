"""Collections: made, described, filled, summed up."""

from __future__ import annotations

from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.api import cursors, links, presentation
from perdura.api.models.collections import (
    CollectionAnswer,
    CollectionChange,
    CollectionPage,
    CollectionQuery,
    CollectionRequest,
    CollectionSummary,
    MembersAnswer,
    MembersRequest,
)
from perdura.api.operations import Call, Section
from perdura.api.problems import not_found
from perdura.api.queries import collections, facets
from perdura.api.queries.criteria import Criteria
from perdura.api.queries.rows import AnyRow
from perdura.registry import collections as registry

section = Section("Collections")


def answer(row: AnyRow) -> CollectionAnswer:
    """A collection as it is shown."""
    base = links.collection(row.id)
    return CollectionAnswer(
        id=row.id,
        name=row.name,
        description=row.description,
        restricted=row.restricted,
        archives=row.archives,
        created=row.created_at,
        links={
            "self": base,
            "summary": f"{base}/summary",
            "members": f"{base}/members",
            "archives": f"{links.API}/archives?collection={row.id}",
            "html": f"/collections/{row.id}",
        },
    )


def _found(call: Call, collection_id: UUID) -> CollectionAnswer:
    row = collections.find(call.connection, call.principal, collection_id)
    if row is None:
        raise not_found("collection")
    return answer(row)


@section.get("/collections", permission=Permission.READ)
def list_collections(call: Call, query: CollectionQuery) -> CollectionPage:
    """List collections, by name."""
    after = cursors.decode(query.cursor, 1)[0] if query.cursor else None
    rows = collections.page(call.connection, call.principal, limit=query.limit + 1, after=after, part=query.q)
    shown = rows[: query.limit]
    return CollectionPage(
        items=[answer(row) for row in shown],
        next=cursors.encode(shown[-1].name) if len(rows) > query.limit else None,
    )


@section.post("/collections", permission=Permission.OPERATE, status=201)
def create_collection(call: Call, body: CollectionRequest) -> CollectionAnswer:
    """Make a collection. 409 when the name is taken."""
    made = registry.create(call.connection, body.name, body.description, restricted=body.restricted)
    call.objects.append(made)
    call.detail |= body.model_dump(exclude_unset=True, mode="json")
    return _found(call, made)


@section.get("/collections/<uuid:collection_id>", permission=Permission.READ)
def get_collection(call: Call, collection_id: UUID) -> CollectionAnswer:
    """One collection."""
    return _found(call, collection_id)


@section.patch("/collections/<uuid:collection_id>", permission=Permission.OPERATE)
def change_collection(call: Call, collection_id: UUID, body: CollectionChange) -> CollectionAnswer:
    """Rename or describe a collection."""
    call.detail |= body.model_dump(exclude_unset=True, mode="json")
    registry.change(
        call.connection, collection_id, name=body.name, description=body.description, restricted=body.restricted
    )
    return _found(call, collection_id)


@section.delete("/collections/<uuid:collection_id>", permission=Permission.OPERATE, status=204)
def delete_collection(call: Call, collection_id: UUID) -> None:
    """Forget a collection; its Archives stay. 409 while schedules put their Archives into it."""
    registry.remove(call.connection, collection_id)


@section.post("/collections/<uuid:collection_id>/members", permission=Permission.OPERATE)
def add_members(call: Call, collection_id: UUID, body: MembersRequest) -> MembersAnswer:
    """Add Archives to a collection; those in it already are left alone."""
    return MembersAnswer(changed=registry.add(call.connection, collection_id, body.archives))


@section.post("/collections/<uuid:collection_id>/members/remove", permission=Permission.OPERATE)
def remove_members(call: Call, collection_id: UUID, body: MembersRequest) -> MembersAnswer:
    """Take Archives out of a collection; those that are not in it are left alone."""
    return MembersAnswer(changed=registry.take_out(call.connection, collection_id, body.archives))


@section.get("/collections/<uuid:collection_id>/summary", permission=Permission.READ)
def get_summary(call: Call, collection_id: UUID) -> CollectionSummary:
    """A collection in numbers: its Archives by state, source, step, cause and format."""
    row = collections.find(call.connection, call.principal, collection_id)
    if row is None:
        raise not_found("collection")
    found = facets.facets(call.connection, call.principal, Criteria(collection=collection_id))
    return CollectionSummary(id=row.id, name=row.name, **dict(presentation.facets(found)))
