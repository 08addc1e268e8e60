"""Turns rows of the registry into the shapes that the API shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from perdura.api import links
from perdura.api.models.archives import (
    ArchiveAnswer,
    ArchiveSummary,
    CopyAnswer,
    ErrorAnswer,
    EventAnswer,
    FacetsAnswer,
    FacetValue,
    FileAnswer,
    FindingAnswer,
    FormatAnswer,
    FoundEvent,
    IdentifierAnswer,
    NamedArchive,
    OutcomeAnswer,
    PackageAnswer,
    PlannedStep,
    PublicationAnswer,
    StepAnswer,
)
from perdura.api.queries.archives import ArchiveRecord, Placed, Published, shut_until
from perdura.api.queries.facets import Facets
from perdura.api.queries.premis_search import Found
from perdura.api.queries.rows import AnyRow
from perdura.outcome import CopyState, PackageKind, StepState
from perdura.premis.log import Stored
from perdura.premis.model import Event, Identifier
from perdura.registry import embargo, steering
from perdura.registry.tape_again import replaceable
from perdura.registry.transitions import ERRAND_POSITION, ArchiveState

FINAL = frozenset(
    {
        ArchiveState.COMPLETED,
        ArchiveState.COMPLETED_WITH_WARNINGS,
        ArchiveState.FAILED,
        ArchiveState.REJECTED,
        ArchiveState.CANCELLED,
    }
)
"""States in which nothing more happens unless somebody asks for it."""


def summary(row: AnyRow) -> ArchiveSummary:
    """An Archive in a listing."""
    return ArchiveSummary(
        id=row.id,
        title=row.title,
        state=ArchiveState(row.state),
        source=row.source or None,
        recid=row.recid or None,
        origin=row.origin,
        restricted=row.restricted,
        size=row.size,
        step=row.step or None,
        cause=row.cause or None,
        created=row.created_at,
        updated=row.updated_at,
        links=links.archive_links(row.id),
    )


def facets(found: Facets) -> FacetsAnswer:
    """Counts to narrow a list by."""
    return FacetsAnswer(
        total=found.total,
        bytes=found.bytes,
        exact=found.exact,
        facets={
            dimension: [
                FacetValue(value=value, name=found.names.get(value) if dimension == "format" else None, count=count)
                for value, count in counts
            ]
            for dimension, counts in found.counts.items()
        },
    )


def archive(record: ArchiveRecord) -> ArchiveAnswer:
    """An Archive with everything that belongs to it."""
    row = record.archive
    last = next((step for step in reversed(record.steps) if step.position < ERRAND_POSITION), None)
    publications = [publication(entry) for entry in record.publications]
    shut = shut_until(row) is not None
    return ArchiveAnswer(
        id=row.id,
        title=row.title,
        state=ArchiveState(row.state),
        source=row.source,
        recid=row.recid,
        origin=row.origin,
        restricted=row.restricted,
        metadata=row.metadata,
        created=row.created_at,
        updated=row.updated_at,
        embargo=embargo.ends(row.metadata, datetime.now(UTC)),
        packages=[package(entry, shut=shut) for entry in record.packages],
        copies=[copy(entry) for entry in record.copies],
        pipeline=plan(row.pipeline, record.steps),
        error=error_of(last) if last is not None else None,
        publication=publications[0] if publications else None,
        publications=publications,
        actions=[
            str(act)
            for act in steering.legal(
                row.state,
                row.pipeline,
                last.position if last is not None else None,
                last.state if last is not None else None,
            )
        ]
        + (["archive-again"] if replaceable(record.packages, record.copies, record.steps) is not None else []),
        links=links.archive_links(row.id),
    )


def plan(pipeline: Sequence[str], steps: Sequence[AnyRow]) -> list[PlannedStep]:
    """Every step of a pipeline with the state of its last attempt."""
    latest = {row.position: row for row in steps}
    return [
        PlannedStep(
            name=name,
            state=StepState(latest[position].state) if position in latest else None,
            attempt=latest[position].attempt if position in latest else None,
        )
        for position, name in enumerate(pipeline)
    ]


def package(row: AnyRow, *, shut: bool) -> PackageAnswer:
    """A package. Only what is one object has content that can be fetched at once; none has while it is shut."""
    closed = shut or row.container == "prefix"
    whole = {} if closed else {"content": links.package_content(row.archive_id, row.id)}
    return PackageAnswer(
        id=row.id,
        kind=PackageKind(row.kind),
        bucket=row.bucket,
        key=row.key,
        version=row.version_id,
        container=row.container,
        size=row.size,
        checksums=row.checksums,
        accepted=row.accepted,
        created=row.created_at,
        links=whole,
    )


def copy(row: Placed) -> CopyAnswer:
    """One placement of a package."""
    return CopyAnswer(
        package=row.package_id,
        kind=PackageKind(row.kind),
        location=row.location,
        uri=row.uri,
        size=row.size,
        checksums=row.checksums,
        verified=row.verified_at,
        state=CopyState(row.state),
    )


def publication(row: Published) -> PublicationAnswer:
    """Where an Archive is published."""
    return PublicationAnswer(url=row.url, destination=row.destination, published=row.published_at)


def error_of(row: AnyRow) -> ErrorAnswer | None:
    """Why a step did not succeed; None for one that did, or has not ended."""
    if row.error_code is None:
        return None
    return ErrorAnswer(code=row.error_code, message=row.error_message or "")


def step(row: AnyRow) -> StepAnswer:
    """One attempt of a step."""
    return StepAnswer(
        id=row.id,
        name=row.name,
        position=row.position,
        state=StepState(row.state),
        attempt=row.attempt,
        created=row.created_at,
        started=row.started_at,
        finished=row.finished_at,
        error=error_of(row),
        findings=[finding(entry) for entry in row.findings],
        progress=progress_of(row.progress),
        output=row.output,
        looks_again=row.poll_at if row.state == StepState.WAITING else None,
    )


def progress_of(noted: dict[str, Any] | None) -> dict[str, Any] | None:
    """How far a step is; how far earlier invocations were is for the watchdog."""
    return None if noted is None else {name: value for name, value in noted.items() if name != "furthest"}


def finding(entry: dict[str, Any]) -> FindingAnswer:
    """One reason why a step failed or warned."""
    return FindingAnswer(
        code=str(entry.get("code", "")),
        severity=str(entry.get("severity", "error")),
        message=str(entry.get("message", "")),
        path=entry.get("path"),
        clause=entry.get("clause"),
    )


def file(row: AnyRow, package_row: AnyRow, *, shut: bool) -> FileAnswer:
    """A payload file; it can be read alone when its package stores it uncompressed, or as an object of its own.

    Nothing can be read while an embargo has it `shut`.
    """
    readable = not shut and (row.offset is not None or package_row.container == "prefix")
    content = links.file_content(package_row.archive_id, package_row.id, row.path)
    return FileAnswer(
        path=row.path,
        size=row.size,
        checksums=row.checksums,
        format=FormatAnswer(name=row.format_name, puid=row.format_key, media_type=row.media_type),
        links={"content": content} if readable else {},
    )


def event(stored: Stored) -> EventAnswer:
    """A PREMIS event of the log."""
    return EventAnswer(**_event(stored.event), recorded=stored.recorded_at, sealed=stored.sealed)


def found_event(found: Found) -> FoundEvent:
    """A PREMIS event that a search of the whole log has found."""
    named = [NamedArchive(id=identifier, title=title) for identifier, title in found.archives]
    return FoundEvent(**_event(found.event), recorded=found.recorded, sealed=None, archives=named)


def _event(entry: Event) -> dict[str, Any]:
    return {
        "id": entry.id,
        "type": entry.type,
        "at": entry.at,
        "details": [str(detail) for detail in entry.details],
        "outcomes": [
            OutcomeAnswer(outcome=outcome.outcome, notes=[str(note) for note in outcome.notes])
            for outcome in entry.outcomes
        ],
        "agents": [_identifier(agent) for agent in entry.agents],
        "objects": [_identifier(thing) for thing in entry.objects],
    }


def _identifier(identifier: Identifier) -> IdentifierAnswer:
    return IdentifierAnswer(type=identifier.type, value=identifier.value, roles=list(identifier.roles))
