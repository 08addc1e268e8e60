"""Harvests: what a pasted address is, and fetching it."""

from __future__ import annotations

from perdura.accounts.principals import Permission
from perdura.api import links
from perdura.api.models.deposits import Accepted, HarvestRequest, ResolveAnswer, ResolvedFile, ResolveRequest
from perdura.api.operations import Call, Section
from perdura.api.queries import archives
from perdura.registry import archives as registry
from perdura.sources import resolve

section = Section("Harvests")


@section.post("/harvests", permission=Permission.DEPOSIT, status=202)
def create_harvest(call: Call, body: HarvestRequest) -> Accepted:
    """Fetch a record and preserve it. What cannot be fetched ends as a failed step that says why."""
    begun = registry.start_harvest(call.connection, url=body.url, source=body.source, recid=body.recid)
    call.made(begun.archive)
    call.emit(begun.events)
    return Accepted(archive=begun.archive, links=links.archive_links(begun.archive))


@section.post("/harvests/resolve", permission=Permission.DEPOSIT)
def resolve_harvest(call: Call, body: ResolveRequest) -> ResolveAnswer:
    """Say which record an address or DOI names, and what a harvest would fetch. Nothing is stored."""
    plan = resolve.preview(body.url, call.services.settings)
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
