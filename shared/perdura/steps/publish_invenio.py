"""An Archive at a destination that is an InvenioRDM: what is sent there by its policy, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from perdura.clients.destinations import WHERE_PUBLISHED, Destination
from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmGone, Wire
from perdura.errors import Broken, Rejected, Retryable
from perdura.outcome import ArchiveView, Finding, Package
from perdura.ports import HeldPlacements, Placed, Ports
from perdura.premis.model import SUCCESS, Event, Identifier
from perdura.registry import embargo
from perdura.steps import dip
from perdura.steps import publish_content as content
from perdura.steps.mapping.model import Mapped
from perdura.steps.mapping.report import Unmapped
from perdura.steps.publish_access import settle
from perdura.steps.publish_body import access, body, package_id, resource_id
from perdura.steps.publish_decided import alike, as_decided, earlier, is_withdrawn, shut_there, withheld
from perdura.steps.publish_errand import settled, shut_first
from perdura.steps.publish_found import Sought, Superseded, look
from perdura.steps.publish_record import REVIEW_DECLINED, Done, Order, Publisher
from perdura.steps.publish_result import Result, disseminated, failed, placed, told
from perdura.steps.publish_sent import AtWork, OutOfTime, Sent
from perdura.steps.publish_wanted import Sending

REVIEW_LOOK = timedelta(minutes=5)
SENT = "sent"
"""Key in the checkpoint: what of the files of destinations was sent, by their ids."""

REPORTED = 100
"""Values without a place in the record that are named; the number of all is always told."""


def publish(archive: ArchiveView, aip: Package, destination: Destination, wire: Wire, ports: Ports) -> Result:
    """Publish exactly once; see `publish_record` for how, and for what is raised."""
    placements = ports.placements
    if placements is None:
        raise Broken("The publication on an access system needs the registry.", code="no-registry")
    if is_withdrawn(destination.id, placements.standing(archive.id), ports):
        return withheld(archive, destination, wire, placements, ports, "The Archive was withdrawn.")
    if archive.restricted and destination.restricted == "withhold":
        return withheld(archive, destination, wire, placements, ports, "The Archive is restricted.")
    with placements.hold(destination.system, resource_id(archive)) as held:
        known = held.known(destination.id, archive.id)
        if known is not None and known.state == "withdrawn":
            raise Rejected(_withdrawn(destination, known), code="access-system-record-withdrawn")
        wanted = access(archive, embargo.ends(archive.metadata, ports.clock.now()), destination)

        def confirm() -> None:
            held.confirm()
            as_decided(archive, destination, held, ports)

        if archive.step.input.get("where") == WHERE_PUBLISHED:
            if known is None:
                return Result(destination.id)
            with _noting_withdrawal(held, destination, archive):
                return settled(archive, destination, known, wanted, wire, ports, held, confirm)
        if known is not None:
            known = shut_first(archive, destination, known, wanted, wire, held, confirm)
        sought = _sought(archive, aip, destination, held, ports)
        try:
            with _noting_withdrawal(held, destination, archive), _unless_overtaken(held):
                found = look(Records(wire), sought, known.record if known else None)
        except Superseded as superseded:
            kept = Result(destination.id)
            if known is not None:
                kept = settled(archive, destination, known, wanted, wire, ports, held, confirm)
            return _superseded(kept, superseded.record)
        entries = dip.entries_of(aip, ports.store)
        mapped = content.mapped(archive, aip, entries, ports)
        content.without_unknown_languages(mapped, wire)
        facts = content.facts(archive, aip, entries, ports)
        sent = Sent.of_json(package_id(aip), archive.step.checkpoint.get(SENT, {}).get(destination.id))
        before = sent.to_json()
        try:
            files, packages, events = content.files(archive, aip, destination, entries, ports, sent)
        except OutOfTime:
            return _unfinished(destination, sent, ((), ()))
        order = Order(
            sought=sought,
            body=body(mapped, facts, destination, files=bool(files)),
            files=files,
            sending=_sending(destination, ports, sent),
            community=destination.community,
            review=destination.review,
            register_doi=destination.doi == "registered",
        )

        ours = known.details.get("access") if known is not None else None

        def note(record: Record, request: str | None, access: object = wanted) -> None:
            held.note(destination.id, archive.id, placed(record, request, access))

        try:
            with _noting_withdrawal(held, destination, archive), _unless_overtaken(held):
                publisher = Publisher(wire, order, note, confirm)
                done = publisher.publish(found, known.record if known else None, _request(known, archive))
                as_wanted = settle(Records(wire), done.record, wanted, ours, confirm)
                for record in earlier(archive, destination, done.record, wire, held):
                    as_wanted &= settle(Records(wire), record, wanted, ours, confirm)
                confirm()
                note(done.record, done.request, wanted if as_wanted else ours)
        except OutOfTime:
            return _unfinished(destination, sent, (packages, events))
        except AtWork as work:
            unfinished = _unfinished(destination, sent, (packages, events))
            look_at = ports.clock.now() + work.look_after
            return replace(unfinished, look_at=look_at, at_work=True, output={"awaited": work.keys})
        except Retryable as error:
            if sent.to_json() == before and not packages:
                raise
            return replace(_unfinished(destination, sent, (packages, events)), later=error)
        except (Rejected, Broken) as error:
            if known is not None and error.code == REVIEW_DECLINED:
                details = {**known.details, "declined_to": str(archive.step.id)}
                held.note(destination.id, archive.id, Placed(known.record, "draft", details))
            unfit = failed(archive, aip, destination.id, error, ports, (packages, events))
            return replace(unfit, sent=sent.to_json())
    result = _result(archive, aip, destination, done, mapped, order, (packages, events), ports)
    return result if as_wanted else replace(result, findings=(*result.findings, shut_there(destination, done.record)))


def _sought(archive: ArchiveView, aip: Package, destination: Destination, held: HeldPlacements, ports: Ports) -> Sought:
    systems = alike(destination.id, ports)
    return Sought(
        package=package_id(aip),
        resource=resource_id(archive),
        in_custom_fields=destination.naming == "custom-fields",
        siblings=held.siblings(systems, archive.id),
        successors=held.successors(systems, archive.id),
        own=held.records(destination.id, archive.id),
    )


def _sending(destination: Destination, ports: Ports, sent: Sent) -> Sending:
    return Sending(
        destination.multipart_above,
        destination.part_size,
        destination.fetch,
        now=ports.clock.now,
        progress=ports.progress,
        near=ports.deadline.near,
        sent=sent,
    )


@contextmanager
def _noting_withdrawal(held: HeldPlacements, destination: Destination, archive: ArchiveView) -> Iterator[None]:
    """Note where a record of the Archive was deleted there; that of another one may be what is gone."""
    try:
        yield
    except RdmGone as gone:
        known = held.known(destination.id, archive.id)
        if known is not None and known.record == gone.record:
            tombstone = {"reason": gone.tombstone.reason, "note": gone.tombstone.note, "at": gone.tombstone.removed_at}
            details = {**known.details, "tombstone": tombstone}
            held.note(destination.id, archive.id, Placed(known.record, "withdrawn", details))
        raise


@contextmanager
def _unless_overtaken(held: HeldPlacements) -> Iterator[None]:
    """What another has published meanwhile is refused to one that was taken for dead: Retryable, and no failure."""
    try:
        yield
    except (Rejected, Broken):
        held.confirm()
        raise


def _result(
    archive: ArchiveView,
    aip: Package,
    destination: Destination,
    done: Done,
    mapped: Mapped,
    order: Order,
    made: tuple[tuple[Package, ...], tuple[Event, ...]],
    ports: Ports,
) -> Result:
    record = done.record
    unmapped = mapped.report(order.body)
    output = {
        **told(record),
        "revision": record.revision,
        "files": len(order.files),
        "metadata_from": mapped.form,
        "unmapped": len(unmapped),
    }
    if done.in_review:
        look_at = ports.clock.now() + REVIEW_LOOK
        unfinished = _unfinished(destination, order.sending.sent, made)
        return replace(unfinished, look_at=look_at, output={**output, "request": done.request})
    packages, events = made
    event = disseminated(
        archive,
        aip,
        ports,
        destination.id,
        f"published on {destination.id} as {record.url}",
        SUCCESS,
        f"{len(order.files)} files compared by size and MD5 with what was sent; the record was read back",
        more=(Identifier("InvenioRDM record", record.id, ("outcome",)),),
    )
    return Result(
        destination.id,
        url=record.url or f"{destination.url}/records/{record.id}",
        output=output,
        findings=tuple(_reported(unmapped, destination)),
        events=(*events, event),
        packages=packages,
    )


def _superseded(kept: Result, later: Record) -> Result:
    """What is not published because a later version is, with the records of earlier AIPs as they are kept."""
    message = (
        f"The record {later.id} is of a later version of the Resource, and no version can be put before it: "
        f"{'its record stays as it was' if kept.output else 'this one is not published'} there."
    )
    return replace(
        kept,
        output={**kept.output, "superseded_by": later.id},
        findings=(*kept.findings, Finding("later-version-published", message, "warning", kept.destination)),
    )


def _unfinished(destination: Destination, sent: Sent, made: tuple[tuple[Package, ...], tuple[Event, ...]]) -> Result:
    """A destination to which more has to be sent; a DIP that was stored for it is recorded now."""
    packages, events = made
    return Result(destination.id, sent=sent.to_json(), packages=packages, events=events if packages else ())


def _reported(unmapped: Sequence[Unmapped], destination: Destination) -> Iterator[Finding]:
    """What could not be mapped, for the timeline; it warns of nothing, for the AIP holds all of it."""
    for entry in unmapped[:REPORTED]:
        message = f"{entry.value}: {entry.reason}" if entry.value else entry.reason
        yield Finding("metadata-not-mapped", message, "info", f"{destination.id}: {entry.path}")
    if len(unmapped) > REPORTED:
        message = f"{len(unmapped) - REPORTED} more values have no place in the record; the AIP holds them."
        yield Finding("metadata-not-mapped", message, "info", destination.id)


def _request(known: Placed | None, archive: ArchiveView) -> str | None:
    """The request for review to look at; none after another step was told that it was declined: that one asks anew."""
    if known is None or known.details.get("declined_to") not in (None, str(archive.step.id)):
        return None
    return known.details.get("request")


def _withdrawn(destination: Destination, known: Placed) -> str:
    stone = known.details.get("tombstone") or {}
    said = ", ".join(str(stone[name]) for name in ("reason", "note", "at") if stone.get(name))
    return f"The record {known.record} was withdrawn from {destination.id} ({said or 'no reason given'})."
