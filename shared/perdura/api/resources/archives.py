"""Archives: listing, reading, retrying."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import cursors, exporting, links, presentation
from perdura.api.models.archives import (
    ArchiveAnswer,
    ArchiveFilter,
    ArchivePage,
    ArchiveQuery,
    CheckAnswer,
    CheckRequest,
    ChecksAnswer,
    CopyRequest,
    ExportQuery,
    FacetsAnswer,
    FileFilter,
    FilePage,
    RecallAnswer,
    RecallRequest,
    RetryAnswer,
    StepList,
    StepQuery,
)
from perdura.api.models.steering import ActAnswer, RunRequest
from perdura.api.operations import Call, Section
from perdura.api.problems import blaming, not_found
from perdura.api.queries import archives, facets, files, finding
from perdura.api.sight import seen, steps
from perdura.registry import archives as registry
from perdura.registry import checks, steering, tape_again
from perdura.registry.archives import Begun

section = Section("Archives")


@section.get("/archives", permission=Permission.READ)
def list_archives(call: Call, query: ArchiveQuery) -> ArchivePage:
    """List Archives, newest first.

    All filters have to hold. Follow `next` to go on: a page costs the same at any depth.
    """
    rows = finding.page(
        call.connection,
        call.principal,
        query.criteria(),
        limit=query.limit + 1,
        after=cursors.place(query.cursor),
    )
    shown, following = cursors.cut(rows, query.limit)
    return ArchivePage(
        items=[presentation.summary(row) for row in shown],
        next=following,
    )


@section.get("/archives/facets", permission=Permission.READ)
def get_facets(call: Call, query: ArchiveFilter) -> FacetsAnswer:
    """How many Archives match a filter, by state, source, origin, step, cause and format."""
    return presentation.facets(facets.facets(call.connection, call.principal, query.criteria()))


@section.get("/archives/export", permission=Permission.READ, media=("text/csv", "application/x-ndjson"))
def export_archives(call: Call, query: ExportQuery) -> Response:
    """All Archives that match a filter, as CSV or as JSON lines, newest first, streamed."""
    return exporting.stream(call, query)


@section.get("/archives/<uuid:archive_id>", permission=Permission.READ)
def get_archive(call: Call, archive_id: UUID) -> ArchiveAnswer:
    """One Archive with its packages, copies, pipeline and publication."""
    record = archives.record(call.connection, call.principal, archive_id)
    if record is None:
        raise not_found("Archive")
    return presentation.archive(record)


@section.get("/archives/<uuid:archive_id>/steps", permission=Permission.READ)
def list_steps(call: Call, archive_id: UUID, query: StepQuery) -> StepList:
    """The attempts of all steps of an Archive, with findings, error and output."""
    seen(call, archive_id)
    position, attempt = cursors.decode_numbers(query.cursor, 2) if query.cursor is not None else (0, 0)
    rows = archives.attempts(call.connection, archive_id, limit=query.limit + 1, after=(position, attempt))
    shown = rows[: query.limit]
    return StepList(
        items=steps(call, shown),
        next=cursors.encode_numbers(shown[-1].position, shown[-1].attempt) if len(rows) > query.limit else None,
    )


@section.get("/archives/<uuid:archive_id>/files", permission=Permission.READ)
def list_files(call: Call, archive_id: UUID, query: FileFilter) -> FilePage:
    """Payload files of an Archive, by path."""
    archive = seen(call, archive_id)
    if query.package is not None:
        package = archives.package(call.connection, call.principal, query.package)
        if package is None or package.archive_id != archive_id:
            raise not_found("package")
    else:
        package = files.best_package(call.connection, archive_id)
        if package is None:
            return FilePage(package=None, items=[], next=None)
    after = cursors.decode(query.cursor, 1)[0] if query.cursor else None
    rows = files.page(call.connection, package.id, limit=query.limit + 1, after=after, prefix=query.prefix)
    shown = rows[: query.limit]
    shut = archives.shut_until(archive) is not None
    return FilePage(
        package=package.id,
        items=[presentation.file(row, package, shut=shut) for row in shown],
        next=cursors.encode(shown[-1].path) if len(rows) > query.limit else None,
    )


@section.post("/archives/<uuid:archive_id>/retry", permission=Permission.OPERATE, status=202)
def retry_archive(call: Call, archive_id: UUID) -> RetryAnswer:
    """Run the failed or blocked step of an Archive again, as a new attempt.

    409 when its last step is neither failed nor blocked.
    """
    seen(call, archive_id)
    begun = registry.retry(call.connection, archive_id)
    call.emit(begun.events)
    return RetryAnswer(archive=archive_id, links=links.archive_links(archive_id))


@section.post("/archives/<uuid:archive_id>/skip", permission=Permission.OPERATE, status=202)
def skip_step(call: Call, archive_id: UUID) -> ActAnswer:
    """Go on without the failed or blocked step.

    409 when the last step is neither; 422 when what follows needs it.
    """
    seen(call, archive_id)
    return _begun(call, steering.skip(call.connection, archive_id, by=call.principal.name))


@section.post("/archives/<uuid:archive_id>/cancel", permission=Permission.OPERATE, status=202)
def cancel_archive(call: Call, archive_id: UUID) -> ActAnswer:
    """Stop an Archive where it is; what was written stays. 409 when nothing is under way."""
    seen(call, archive_id)
    return _begun(call, steering.cancel(call.connection, archive_id, by=call.principal.name))


@section.post("/archives/<uuid:archive_id>/run", permission=Permission.OPERATE, status=202)
def run_steps(call: Call, archive_id: UUID, body: RunRequest) -> ActAnswer:
    """Run more steps behind a finished pipeline. 409 while it is not finished; 422 when they cannot follow."""
    seen(call, archive_id)
    with blaming("body.steps"):
        return _begun(call, steering.run(call.connection, archive_id, body.steps))


def _begun(call: Call, begun: Begun) -> ActAnswer:
    call.emit(begun.events)
    return ActAnswer(archive=begun.archive, links=links.archive_links(begun.archive))


@section.post("/archives/<uuid:archive_id>/recalls", permission=Permission.OPERATE, status=202)
def recall_archive(call: Call, archive_id: UUID, body: RecallRequest) -> RecallAnswer:
    """Bring the AIP of an Archive, or one file of it, back from tape; the step's output says where it lies.

    404 for a version that the Archive does not have; 409 when there is no copy on tape.
    """
    seen(call, archive_id)
    begun = registry.recall(call.connection, archive_id, package=body.package, file=body.file, drill=body.drill)
    call.emit(begun.events)
    step = UUID(begun.events[0].data["step"])
    return RecallAnswer(archive=archive_id, step=step, links=links.archive_links(archive_id))


@section.post("/archives/<uuid:archive_id>/copies", permission=Permission.OPERATE, status=202)
def archive_again(call: Call, archive_id: UUID, body: CopyRequest) -> RecallAnswer:
    """Make the copy on tape again that was found lost or damaged, from the one in the store and at a new place.

    409 unless there is such a copy, that in the store is good, and nothing of the Archive is on its way to tape.
    """
    seen(call, archive_id)
    begun = tape_again.archive_again(call.connection, archive_id, package=body.package)
    call.emit(begun.events)
    step = UUID(begun.events[0].data["step"])
    return RecallAnswer(archive=archive_id, step=step, links=links.archive_links(archive_id))


@section.post("/archives/<uuid:archive_id>/checks", permission=Permission.OPERATE, status=202)
def check_copies(call: Call, archive_id: UUID, body: CheckRequest) -> ChecksAnswer:
    """Read copies of the AIP again and compare every digest with the registry; each copy is a step of its own.

    The copy on tape is recalled, read and not kept. What is being checked already is not checked twice. 404 for a
    version that the Archive does not have; 409 for a copy that there is not.
    """
    seen(call, archive_id)
    begun, events = checks.check_copies(call.connection, archive_id, package=body.package, locations=body.copies)
    call.emit(events)
    items = [CheckAnswer(step=each.step, package=each.package, location=each.location) for each in begun]
    return ChecksAnswer(archive=archive_id, items=items, links=links.archive_links(archive_id))


@section.post("/archives/<uuid:archive_id>/steps/<uuid:step_id>/cancel", permission=Permission.OPERATE, status=202)
def cancel_step(call: Call, archive_id: UUID, step_id: UUID) -> ActAnswer:
    """Stop a step beside the pipeline: a recall or a check. What it asked of the tape system is called off.

    409 when it is over, or belongs to the pipeline: that is stopped with its Archive.
    """
    seen(call, archive_id)
    call.objects.append(step_id)
    steering.cancel_errand(call.connection, archive_id, step_id, by=call.principal.name)
    return ActAnswer(archive=archive_id, links=links.archive_links(archive_id))
