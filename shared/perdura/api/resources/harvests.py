"""Harvests: what a pasted address is, and fetching it."""

from __future__ import annotations

from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.api import cursors, links, presentation
from perdura.api.models.deposits import (
    Accepted,
    HarvestQuery,
    HarvestRequest,
    ResolveAnswer,
    ResolvedFile,
    ResolveRequest,
)
from perdura.api.models.harvests import HarvestAnswer, HarvestAsked, HarvestPage, HarvestsQuery
from perdura.api.operations import Call, Section
from perdura.api.problems import Problem, blaming, not_found
from perdura.api.queries import archives, finding, harvests
from perdura.api.queries.criteria import Criteria
from perdura.api.queries.rows import AnyRow
from perdura.api.sight import seen
from perdura.clients.http import redacted
from perdura.outcome import StepState
from perdura.recordable import text
from perdura.registry import archives as registry
from perdura.registry.preservation import note_wish
from perdura.registry.transitions import ArchiveState
from perdura.runtime.budget import registry_budget
from perdura.runtime.extras import credential_of
from perdura.sources import resolve
from perdura.sources.plan import Plan

section = Section("Harvests")


@section.post("/harvests", permission=Permission.DEPOSIT, status=202)
def create_harvest(call: Call, query: HarvestQuery, body: HarvestRequest) -> Accepted:
    """Fetch a record and preserve it. What cannot be fetched ends as a failed step that says why.

    With `light=true` the package holds the metadata and names the files; `completion` of its Archive fetches them.
    """
    wanted = registry.HarvestWanted(
        **body.model_dump(exclude={"preserve"}),
        light=query.light,
        requested_by=call.principal.account,
        scopes=call.principal.told_scopes,
    )
    begun = registry.start_harvest(call.connection, wanted)
    call.made(begun.archive)
    note_wish(call.connection, begun.archive, body.preserve.wish() if body.preserve else {})
    call.emit(begun.events)
    return Accepted(archive=begun.archive, links=links.archive_links(begun.archive))


@section.post("/archives/<uuid:archive_id>/completion", permission=Permission.DEPOSIT, status=202)
def complete_harvest(call: Call, archive_id: UUID) -> Accepted:
    """Fetch the files that a light package only names, then preserve it. 409 when the Archive is no such package.

    One's own; whoever may operate completes any.
    """
    seen(call, archive_id)
    if not call.principal.may(Permission.OPERATE) and not archives.is_from(call.connection, call.principal, archive_id):
        raise Problem(403, "Only who had it harvested, or may operate, can complete it.", "forbidden")
    begun = registry.complete(call.connection, archive_id)
    call.emit(begun.events)
    return Accepted(archive=archive_id, links=links.archive_links(archive_id))


@section.get("/harvests", permission=Permission.READ)
def list_harvests(call: Call, query: HarvestsQuery) -> HarvestPage:
    """List harvests, newest first, those of schedules among them."""
    criteria = Criteria(origins=(harvests.ORIGIN,), states=tuple(query.state), sources=tuple(query.source))
    after = cursors.place(query.cursor)
    rows = finding.page(call.connection, call.principal, criteria, limit=query.limit + 1, after=after)
    shown, following = cursors.cut(rows, query.limit)
    found = harvests.of(call.connection, call.principal, [row.id for row in shown])
    return HarvestPage(items=[_answer(row) for row in found], next=following)


@section.get("/harvests/<uuid:archive_id>", permission=Permission.READ)
def get_harvest(call: Call, archive_id: UUID) -> HarvestAnswer:
    """One harvest, by the id of its Archive. 404 when that began otherwise."""
    found = harvests.of(call.connection, call.principal, [archive_id])
    if not found:
        raise not_found("harvest")
    return _answer(found[0])


def _answer(row: AnyRow) -> HarvestAnswer:
    asked = {name: row.input.get(name) for name in ("url", "source", "recid", "engine")}
    asked["url"] = redacted(asked["url"]) if isinstance(asked["url"], str) else None
    how = {name: bool(row.input.get(name)) for name in ("light", "warc", "metadata_only")}
    return HarvestAnswer(
        archive=row.id,
        title=row.title,
        asked=HarvestAsked.model_validate(asked | how),
        source=row.source,
        recid=row.recid,
        state=StepState(row.state),
        attempt=row.attempt,
        progress=presentation.progress_of(row.progress),
        error=presentation.error_of(row),
        archive_state=ArchiveState(row.archive_state),
        created=row.created_at,
        started=row.started_at,
        finished=row.finished_at,
        links={"self": links.harvest(row.id), "archive": links.archive(row.id), "html": f"/archives/{row.id}"},
    )


@section.post("/harvests/resolve", permission=Permission.DEPOSIT)
def resolve_harvest(call: Call, body: ResolveRequest) -> ResolveAnswer:
    """Say which record an address or DOI names, and what a harvest would fetch. Nothing is stored."""
    with blaming("body.url"):
        plan = preview(call, body.url)
    return ResolveAnswer(
        source=plan.source,
        recid=plan.recid,
        url=plan.url,
        title=text(plan.title) or None,
        files=[
            ResolvedFile(
                path=text(file.key),
                size=file.size,
                checksum=next((f"{name}:{value}" for name, value in file.checksums.items()), None),
            )
            for file in plan.files
        ],
        size=plan.size,
        archives=list(archives.archives_of_resource(call.connection, call.principal, plan.source, plan.recid)),
    )


def preview(call: Call, url: str) -> Plan:
    """What a harvest of the address would do: asked with the caller's credential, within the budget of the host.

    Raises UnknownSource, UpstreamRefused and UpstreamUnavailable.
    """
    engine, settings, account = call.services.engine, call.services.settings, call.principal.account
    return resolve.preview(
        url,
        settings,
        token=lambda source: credential_of(engine, settings, account, source),
        budget=lambda profile: registry_budget(engine, profile),
    )
