"""notify: a Source, or anybody who asked for it, is told what became of an Archive.

Every notification is a step of its own beside the pipeline: it is seen in the timeline, tried again while its receiver
is away, and can be sent once more by a person. What it says comes from its input and the Archive, never from the time
of sending, so that a repetition says the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from perdura import __version__
from perdura.clients import preservation_sync, receivers, webhooks
from perdura.clients.destinations import Notification, access_configuration
from perdura.clients.preservation_sync import Statement
from perdura.clients.receivers import Receipt
from perdura.errors import Rejected
from perdura.outcome import ArchiveView, CopyState, Outcome, PackageKind
from perdura.ports import Ports
from perdura.premis.model import SUCCESS, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.steps import landing_page

MEANINGS = {"I": "processing", "P": "preserved", "F": "failed", "D": "deleted"}
RECORDED = frozenset({"P", "D"})
"""Statuses whose telling is an event in the history of the package."""


def run(archive: ArchiveView, ports: Ports, transport: httpx.BaseTransport | None = None) -> Outcome:
    """Send what the input names: `notification` (its id), `status` and `at`.

    As a step of a pipeline, without input, it tells everybody concerned that the Archive is preserved.
    Raises Rejected when the receiver will never take it, Broken when it does not know us, Retryable otherwise.
    """
    told = archive.step.input
    configuration = access_configuration(ports.settings.access)
    status = str(told.get("status") or "P")
    if "notification" in told:
        wanted = [entry for entry in configuration.notification if entry.id == told["notification"]]
        if not wanted:
            raise Rejected(f"There is no notification {told['notification']!r} any more.", code="no-notification")
    else:
        collections = ports.placements.collections(archive.id) if ports.placements else ()
        wanted = list(configuration.notifications(archive.source, collections, status))
    at = _at(archive, status) or ports.clock.now()
    receipts = {entry.id: deliver(entry, archive, status, at, ports, transport) for entry in wanted}
    return Outcome(
        output={
            "status": status,
            "receipts": {
                name: {"answer": receipt.status, "said": receipt.said[:200], "repeated": receipt.repeated}
                for name, receipt in receipts.items()
            },
        },
        events=(_event(archive, status, ", ".join(receipts), ports),) if receipts and status in RECORDED else (),
    )


def _at(archive: ArchiveView, status: str) -> datetime | None:
    """The time of what is told: a proof has that of its AIP, however often and by whomever it is sent."""
    aip = archive.package(PackageKind.AIP)
    if status == "P" and aip is not None and aip.recorded_at is not None:
        return aip.recorded_at
    told = archive.step.input.get("at")
    return datetime.fromisoformat(told) if told else archive.step.created_at


def deliver(
    entry: Notification,
    archive: ArchiveView,
    status: str,
    at: datetime,
    ports: Ports,
    transport: httpx.BaseTransport | None = None,
) -> Receipt:
    """Send one notification to one receiver."""
    token = entry.token.read() if entry.token else None
    if entry.type == "preservation-sync":
        return preservation_sync.send(entry.url, token or "", statement(archive, status, at, ports), transport)
    data = told_of(archive, status, at, ports)
    kind = f"org.perdura.archive.{MEANINGS[status]}.v1"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    identifier = ports.derived(f"notification {entry.id} {status}")
    match entry.type:
        case "coar-notify":
            body = _announcement(archive, entry, status, ports)
            headers["Content-Type"] = "application/ld+json"
        case "cloudevents":
            body = webhooks.cloudevent(identifier, kind, f"archive/{archive.id}", at, data)
            headers["Content-Type"] = "application/cloudevents+json"
        case _:
            body = webhooks.webhook(kind, at, data)
            headers["Content-Type"] = "application/json"
    if entry.secret is not None:
        headers |= webhooks.signature(entry.secret.read(), str(identifier), ports.clock.now(), body)
    return receivers.post(entry.url, body, headers, repeated=frozenset({409}), transport=transport)


def statement(archive: ArchiveView, status: str, at: datetime, ports: Ports) -> Statement:
    """What the call-back of preservation-sync says; raises Rejected for a record without id or revision.

    A harvest notes the record's number and the time of its last change (`4/2025-03-04T…`): the number is meant here.
    """
    revision = str(archive.metadata.get("revision")).partition("/")[0]
    if archive.recid is None or not revision.isdecimal():
        raise Rejected(
            "The Source did not tell the revision of this record; without it every call would count anew.",
            code="no-revision",
        )
    aip = archive.package(PackageKind.AIP)
    description: dict[str, Any] = {"compliance": "OAIS", "archive": str(archive.id)}
    if aip is not None:
        description |= {"aip": str(aip.id), "size": aip.size, "checksums": dict(aip.checksums)}
        copies = sorted(
            copy.location for copy in archive.copies if copy.package_id == aip.id and copy.state is CopyState.HELD
        )
        description |= {"copies": copies} if copies else {}
    if archive.step.input.get("reason"):
        description["reason"] = archive.step.input["reason"]
    return Statement(
        pid=archive.recid,
        status=status,
        revision=int(revision),
        harvested_at=archive.created_at or at,
        archived_at=at,
        uri=landing_page.page(archive, ports),
        path=f"s3://{aip.bucket}/{aip.key}" if aip is not None else None,
        description=description,
    )


def told_of(archive: ArchiveView, status: str, at: datetime, ports: Ports) -> Mapping[str, Any]:
    """What webhooks and CloudEvents say."""
    aip = archive.package(PackageKind.AIP)
    found: dict[str, Any] = {
        "archive": str(archive.id),
        "status": status,
        "meaning": MEANINGS[status],
        "at": at.isoformat(),
        "source": archive.source,
        "recid": archive.recid,
        "revision": archive.metadata.get("revision"),
        "title": archive.title,
        "url": landing_page.page(archive, ports),
    }
    if aip is not None:
        found["aip"] = {"id": str(aip.id), "size": aip.size, "checksums": dict(aip.checksums)}
    if archive.step.input.get("reason"):
        found["reason"] = archive.step.input["reason"]
    return {name: value for name, value in found.items() if value is not None}


def _announcement(archive: ArchiveView, entry: Notification, status: str, ports: Ports) -> bytes:
    return webhooks.service_result(
        ports.derived(f"notification {entry.id} {status}"),
        origin=ports.settings.base_url.rstrip("/"),
        inbox=entry.url,
        record=str(archive.metadata.get("url") or f"urn:uuid:{archive.id}"),
        result=landing_page.page(archive, ports),
        summary=f"Preservation: {MEANINGS[status]}",
    )


def _event(archive: ArchiveView, status: str, receivers_told: str, ports: Ports) -> Event:
    return Event(
        id=ports.derived(f"premis/notification {status}"),
        type="dissemination",
        at=ports.clock.now(),
        details=(f"The status {MEANINGS[status]!r} was told to {receivers_told}",),
        outcomes=(EventOutcome(SUCCESS),),
        agents=(Identifier("software", f"perdura/{__version__} notify", ("executing program",)),),
        objects=(Identifier("UUID", str(archive.id)),),
    )
