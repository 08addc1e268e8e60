"""Harvests: what a pasted address is, and fetching it."""

from __future__ import annotations

from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.api import links
from perdura.api.models.deposits import (
    Accepted,
    HarvestQuery,
    HarvestRequest,
    ResolveAnswer,
    ResolvedFile,
    ResolveRequest,
)
from perdura.api.operations import Call, Section
from perdura.api.queries import archives
from perdura.registry import archives as registry
from perdura.registry.preservation import note_wish
from perdura.runtime.budget import registry_budget
from perdura.runtime.extras import credential_of
from perdura.sources import resolve

section = Section("Harvests")


@section.post("/harvests", permission=Permission.DEPOSIT, status=202)
def create_harvest(call: Call, query: HarvestQuery, body: HarvestRequest) -> Accepted:
    """Fetch a record and preserve it. What cannot be fetched ends as a failed step that says why.

    With `light=true` the package holds the metadata and names the files; `completion` of its Archive fetches them.
    """
    wanted = registry.HarvestWanted(
        **body.model_dump(exclude={"preserve"}), light=query.light, requested_by=call.principal.account
    )
    begun = registry.start_harvest(call.connection, wanted)
    call.made(begun.archive)
    note_wish(call.connection, begun.archive, body.preserve.wish() if body.preserve else {})
    call.emit(begun.events)
    return Accepted(archive=begun.archive, links=links.archive_links(begun.archive))


@section.post("/archives/<uuid:archive_id>/completion", permission=Permission.DEPOSIT, status=202)
def complete_harvest(call: Call, archive_id: UUID) -> Accepted:
    """Fetch the files that a light package only names, then preserve it. 409 when the Archive is no such package."""
    begun = registry.complete(call.connection, archive_id)
    call.emit(begun.events)
    return Accepted(archive=archive_id, links=links.archive_links(archive_id))


@section.post("/harvests/resolve", permission=Permission.DEPOSIT)
def resolve_harvest(call: Call, body: ResolveRequest) -> ResolveAnswer:
    """Say which record an address or DOI names, and what a harvest would fetch. Nothing is stored."""
    engine, settings, account = call.services.engine, call.services.settings, call.principal.account
    plan = resolve.preview(
        body.url,
        settings,
        token=lambda source: credential_of(engine, settings, account, source),
        budget=lambda profile: registry_budget(engine, profile),
    )
    return ResolveAnswer(
        source=plan.source,
        recid=plan.recid,
        url=plan.url,
        title=plan.title or None,
        files=[
            ResolvedFile(
                path=file.key,
                size=file.size,
                checksum=next((f"{name}:{value}" for name, value in file.checksums.items()), None),
            )
            for file in plan.files
        ],
        size=plan.size,
        archives=list(archives.archives_of_resource(call.connection, call.principal, plan.source, plan.recid)),
    )
