"""Archives for people: the list with its filters, and the page of one Archive that follows what happens to it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import cursors, naming, presentation, sight
from perdura.api.log_door import sight_of
from perdura.api.models.access import REASONS, RestrictionRequest
from perdura.api.models.archives import ArchiveQuery, CheckRequest, CopyRequest
from perdura.api.problems import not_found
from perdura.api.queries import archives, collections, events, facets, files, finding
from perdura.api.queries.rows import AnyRow
from perdura.api.resources import access
from perdura.api.resources import archives as resource
from perdura.api.sight import seen
from perdura.outcome import STOPPABLE, UNDER_WAY
from perdura.registry import archives as registry
from perdura.registry import steering
from perdura.registry.steering import Act
from perdura.registry.transitions import ERRAND_POSITION
from perdura.web.holdings import in_package
from perdura.web.query_string import address, checked, read_query
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
        after=cursors.place(query.cursor),
    )
    shown, following = cursors.cut(rows, query.limit)
    return visit.page(
        "archives.html",
        query=query,
        collection=_collection(visit, query),
        archives=[presentation.summary(row) for row in shown],
        found=presentation.facets(facets.facets(visit.connection, visit.principal, query.criteria())),
        following=address(query, {"cursor": following}) if following else None,
        address=lambda **changes: address(query, changes),
        toggled=lambda name, value: address(query, {name: _toggled(getattr(query, name), value)}),
        exports={kind: address(query, {"type": kind}, at="/api/v1/archives/export") for kind in ("csv", "ndjson")},
        act_on=address(query, {}, at="/jobs/new"),
        filtered=bool(query.given()),
    )


def _collection(visit: Visit, query: ArchiveQuery) -> AnyRow | None:
    """The collection that the list is about; raises a 404 for one that is not to be seen."""
    if query.collection is None:
        return None
    naming.check(visit.connection, visit.principal, naming.in_model(query, "query"))
    found = collections.find(visit.connection, visit.principal, query.collection)
    if found is None:
        raise not_found("collection")
    return found


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
    package = files.best_of(record.packages)
    found = files.page(visit.connection, package.id, limit=FILES_SHOWN + 1) if package is not None else []
    shut = archives.shut_until(record.archive) is not None
    seeing = sight_of(visit.principal)
    recorded = events.page(visit.connection, archive_id, sight=seeing, limit=EVENTS_SHOWN + 1)
    return {
        "archive": archive,
        "final": archive.state in presentation.FINAL and not any(step.state in UNDER_WAY for step in record.steps),
        "stoppable": {step.id for step in record.steps if step.position >= ERRAND_POSITION and step.state in STOPPABLE},
        "steps": sight.steps(visit, list(reversed(record.steps))),
        "holdings": [in_package(row, package, shut=shut) for row in found[:FILES_SHOWN]] if package else [],
        "files_package": presentation.package(package, shut=shut) if package is not None else None,
        "more_files": len(found) > FILES_SHOWN,
        "events": [presentation.event(stored) for stored in recorded[:EVENTS_SHOWN]],
        "more_events": len(recorded) > EVENTS_SHOWN,
        "related": archives.related(visit.connection, visit.principal, record.archive),
        "recallable": {package.id for package in record.packages if package.kind == "AIP" and package.accepted}
        & {copy.package_id for copy in record.copies if copy.location == "tape"},
        "runnable": [
            step
            for step in steering.more_steps(record.archive.pipeline)
            if step != "notify" or archive.source is not None
        ],
        "restrictable": access.may_decide(
            visit.principal, own=record.archive.is_from, restricted=not archive.restricted
        ),
        "withdrawal_reasons": REASONS,
        "premis_url": visit.services.settings.premis_url,
    }


def act(visit: Visit, archive_id: UUID, act: str) -> Response:
    """Retry, skip, cancel or run more, and show what happens."""
    visit.require(Permission.OPERATE)
    fields = visit.form(("steps",))
    if act not in set(Act):
        raise not_found("page")
    steps = [step for step in fields["steps"].split(",") if step]
    seen(visit, archive_id)
    begun = steering.do(visit.connection, archive_id, Act(act), by=visit.principal.name, steps=steps)
    visit.emit(begun.events)
    return see_other(f"/archives/{archive_id}")


def restrict(visit: Visit, archive_id: UUID) -> Response:
    """Restrict the Archive, or open it; whoever made it may restrict it."""
    visit.require(Permission.DEPOSIT)
    fields = visit.form(("restricted", "reason"))
    wanted = {"restricted": fields["restricted"] == "yes", "reason": fields["reason"]}
    access.set_restriction(visit, archive_id, checked(RestrictionRequest, wanted))
    return see_other(f"/archives/{archive_id}")


def check(visit: Visit, archive_id: UUID) -> Response:
    """Read all copies of the AIP again and compare them, and show what happens."""
    visit.require(Permission.OPERATE)
    visit.form(())
    resource.check_copies(visit, archive_id, CheckRequest(package=None))
    return see_other(f"/archives/{archive_id}")


def archive_again(visit: Visit, archive_id: UUID) -> Response:
    """Make the copy on tape again that was lost, and show what happens."""
    visit.require(Permission.OPERATE)
    visit.form(())
    resource.archive_again(visit, archive_id, CopyRequest(package=None))
    return see_other(f"/archives/{archive_id}")


def cancel_step(visit: Visit, archive_id: UUID, step_id: UUID) -> Response:
    """Stop a recall or a check."""
    visit.require(Permission.OPERATE)
    visit.form(())
    resource.cancel_step(visit, archive_id, step_id)
    return see_other(f"/archives/{archive_id}")


def recall(visit: Visit, archive_id: UUID) -> Response:
    """Bring the AIP back from tape, and show what happens."""
    visit.require(Permission.OPERATE)
    visit.form(())
    seen(visit, archive_id)
    visit.emit(registry.recall(visit.connection, archive_id).events)
    return see_other(f"/archives/{archive_id}")
