"""Archives for people: the list with its filters, and the page of one Archive that follows what happens to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import Response
from pydantic import ValidationError

from perdura.accounts.principals import Permission
from perdura.api import cursors, presentation
from perdura.api.models.archives import ArchiveQuery
from perdura.api.problems import invalid, not_found
from perdura.api.queries import archives, events, files
from perdura.registry import archives as registry
from perdura.registry.transitions import ArchiveState
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
    query = _query(visit)
    criteria = archives.Criteria(states=tuple(query.state), source=query.source or None, text=query.q)
    rows = archives.page(
        visit.connection,
        visit.principal,
        criteria,
        limit=query.limit + 1,
        after=cursors.decode_moment(query.cursor) if query.cursor else None,
    )
    shown = rows[: query.limit]
    following = None
    if len(rows) > query.limit:
        cursor = cursors.encode_moment(shown[-1].created_at, shown[-1].id)
        following = _address(query, cursor=cursor)
    counts = archives.counts_by_state(visit.connection, visit.principal, criteria)
    return visit.page(
        "archives.html",
        query=query,
        archives=[presentation.summary(row) for row in shown],
        counts=[(state, counts.get(state, 0)) for state in ArchiveState if counts.get(state)],
        total=sum(counts.values()),
        sources=archives.sources(visit.connection),
        following=following,
        address=lambda state: _address(query, state=[state] if state is not None else []),
        filtered=bool(query.state or query.source or query.q),
    )


def _query(visit: Visit) -> ArchiveQuery:
    sent: dict[str, Any] = {
        name: value for name, value in visit.request.args.items() if value and name in ArchiveQuery.model_fields
    }
    if "state" in sent:
        sent["state"] = [state for state in visit.request.args.getlist("state") if state]
    try:
        return ArchiveQuery.model_validate(sent)
    except ValidationError as error:
        raise invalid(error, "query") from None


def _address(query: ArchiveQuery, **changes: Any) -> str:
    """The address of the same list with some filters changed; paging starts again unless a cursor is given."""
    values = query.model_dump(exclude_defaults=True, mode="json") | {"cursor": None} | changes
    given = {name: value for name, value in values.items() if value}
    return "/archives" + (f"?{urlencode(given, doseq=True)}" if given else "")


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
