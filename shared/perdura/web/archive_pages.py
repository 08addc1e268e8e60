"""Archives for people: the list with its filters, and the page of one Archive that follows what happens to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_origin
from urllib.parse import urlencode
from uuid import UUID

from flask import Response
from pydantic import BaseModel, ValidationError

from perdura.accounts.principals import Permission
from perdura.api import cursors, presentation
from perdura.api.models.archives import ArchiveFilter, ArchiveQuery
from perdura.api.problems import invalid, not_found
from perdura.api.queries import archives, events, facets, files, finding
from perdura.registry import archives as registry
from perdura.web.visit import Visit, see_other

FILES_SHOWN = 100
EVENTS_SHOWN = 100


def start(visit: Visit) -> Response:
    """The start page is the list of Archives."""
    visit.require(Permission.READ)
    return see_other("/archives")


def listing(visit: Visit) -> Response:
    """Archives, newest first; every filter is in the address."""
    visit.require(Permission.READ)
    query = read_query(visit, ArchiveQuery)
    rows = finding.page(
        visit.connection,
        visit.principal,
        query.criteria(),
        limit=query.limit + 1,
        after=cursors.decode_moment(query.cursor) if query.cursor else None,
    )
    shown = rows[: query.limit]
    following = None
    if len(rows) > query.limit:
        following = address(query, {"cursor": cursors.encode_moment(shown[-1].created_at, shown[-1].id)})
    return visit.page(
        "archives.html",
        query=query,
        archives=[presentation.summary(row) for row in shown],
        found=presentation.facets(facets.facets(visit.connection, visit.principal, query.criteria())),
        following=following,
        address=lambda **changes: address(query, changes),
        toggled=lambda name, value: address(query, {name: _toggled(getattr(query, name), value)}),
        exports={kind: address(query, {"type": kind}, at="/api/v1/archives/export") for kind in ("csv", "ndjson")},
        filtered=bool(query.given()),
    )


Query = TypeVar("Query", bound=BaseModel)


def read_query(visit: Visit, model: type[Query]) -> Query:
    """The address's parameters as a model; what was left empty in a form is as if it were not there."""
    sent: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        values = [value for value in visit.request.args.getlist(name) if value]
        if values:
            sent[name] = values if get_origin(field.annotation) is list else values[-1]
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise invalid(error, "query") from None


def address(query: ArchiveFilter, changes: Mapping[str, Any], *, at: str = "/archives") -> str:
    """The address of the same list with some filters changed; paging starts again unless a cursor is given."""
    given = {name: value for name, value in (query.given() | dict(changes)).items() if value}
    return at + (f"?{urlencode(given, doseq=True)}" if given else "")


def _toggled(values: list[str], value: str) -> list[str]:
    return [other for other in values if other != value] if value in values else [*values, value]


def show(visit: Visit, archive_id: UUID) -> Response:
    """The page of one Archive."""
    return visit.page("archive.html", **_everything(visit, archive_id))


def live(visit: Visit, archive_id: UUID) -> Response:
    """What may have changed on the page of an Archive; asks to be fetched again until the Archive is final."""
    return visit.page("archive_live.html", **_everything(visit, archive_id))


def _everything(visit: Visit, archive_id: UUID) -> dict[str, Any]:
    visit.require(Permission.READ)
    record = archives.record(visit.connection, visit.principal, archive_id)
    if record is None:
        raise not_found("Archive")
    archive = presentation.archive(record)
    package = files.best_package(visit.connection, archive_id)
    found = files.page(visit.connection, package.id, limit=FILES_SHOWN + 1) if package is not None else []
    recorded = events.page(visit.connection, archive_id, limit=EVENTS_SHOWN + 1)
    return {
        "archive": archive,
        "final": archive.state in presentation.FINAL,
        "steps": [presentation.step(row) for row in reversed(record.steps)],
        "files": [presentation.file(row, package) for row in found[:FILES_SHOWN]] if package is not None else [],
        "files_package": presentation.package(package) if package is not None else None,
        "more_files": len(found) > FILES_SHOWN,
        "events": [presentation.event(stored) for stored in recorded[:EVENTS_SHOWN]],
        "more_events": len(recorded) > EVENTS_SHOWN,
        "premis_url": visit.services.settings.premis_url,
    }


def retry(visit: Visit, archive_id: UUID) -> Response:
    """Run the failed step again, and show what happens."""
    visit.require(Permission.OPERATE)
    visit.form(())
    if archives.find(visit.connection, visit.principal, archive_id) is None:
        raise not_found("Archive")
    visit.emit(registry.retry(visit.connection, archive_id).events)
    return see_other(f"/archives/{archive_id}")
