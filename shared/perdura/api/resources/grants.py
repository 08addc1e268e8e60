"""Grants: the right of accounts and groups to see restricted Archives and Collections."""

from __future__ import annotations

from uuid import UUID

from perdura.accounts import directory, grants
from perdura.accounts.principals import Permission
from perdura.api import cursors
from perdura.api.models.accounts import GrantAnswer, GrantPage, GrantQuery, GrantRequest
from perdura.api.operations import Call, Section
from perdura.api.problems import FieldError, Problem, not_found
from perdura.database import AnyRow

section = Section("Grants")


@section.get("/grants", permission=Permission.ADMINISTER)
def list_grants(call: Call, query: GrantQuery) -> GrantPage:
    """List grants, the newest first; all filters have to hold."""
    rows = grants.page(
        call.connection,
        account=query.user,
        group=query.group,
        archive=query.archive,
        collection=query.collection,
        own=query.own,
        limit=query.limit + 1,
        after=cursors.place(query.cursor),
    )
    shown, following = cursors.cut(rows, query.limit)
    return GrantPage(
        items=[_answer(row) for row in shown],
        next=following,
    )


@section.post("/grants", permission=Permission.ADMINISTER, status=201)
def create_grant(call: Call, body: GrantRequest) -> GrantAnswer:
    """Let an account or a group see a restricted Archive, or a Collection and what is in it."""
    if body.user is not None and directory.find(call.connection, body.user) is None:
        raise Problem(422, "There is no such user.", "invalid", (FieldError("body.user", "there is no such user"),))
    row = grants.give(
        call.connection,
        given_by=call.principal.name,
        account=body.user,
        group=body.group,
        archive=body.archive,
        collection=body.collection,
    )
    call.objects.append(row.id)
    call.detail |= body.model_dump(exclude_none=True, mode="json")
    return _answer(row)


@section.delete("/grants/<uuid:grant_id>", permission=Permission.ADMINISTER, status=204)
def delete_grant(call: Call, grant_id: UUID) -> None:
    """Take a grant back."""
    row = grants.take_back(call.connection, grant_id)
    if row is None:
        raise not_found("grant")
    call.objects += [grant_id, *(value for value in (row.archive_id, row.collection_id, row.account_id) if value)]


def _answer(row: AnyRow) -> GrantAnswer:
    return GrantAnswer(
        id=row.id,
        user=row.account_id,
        group=row.group_name,
        archive=row.archive_id,
        collection=row.collection_id,
        given_by=row.given_by,
        own=row.own,
        created=row.created_at,
    )
