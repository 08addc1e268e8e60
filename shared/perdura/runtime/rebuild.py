"""The registry from the objects alone: the log from its bucket, Archives from their packages and from the log.

What is proved is taken over, what is not is asked for again (every step finds what it did before), and what nobody
can know any more is said. Archives that the registry has are left as they are, so that a restored dump is completed:
of them only the records on access systems of others and the withdrawals are noted that came after the dump.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from perdura.clients.destinations import ACCESS_PAGES, access_configuration
from perdura.errors import PerduraError
from perdura.ids import derived_id
from perdura.outcome import Copy, Package, PackageKind, StepState
from perdura.packages.limits import limits_of
from perdura.ports import Offer
from perdura.premis import importing, log, restoring
from perdura.premis.checkpoint import Verifier, signers
from perdura.premis.model import Event
from perdura.registry import rebuilt
from perdura.registry.rebuilt import AFTER_LOST_ATTEMPTS, AipVersion, DropZoneObject, RebuiltArchive, RebuiltStep
from perdura.registry.transitions import DEPOSIT_PIPELINE, HARVEST_PIPELINE, ArchiveState
from perdura.runtime.rebuild_history import History, history
from perdura.runtime.rebuild_objects import HeldAip, HeldSip, by_archive, held_aips, held_sip
from perdura.settings import Settings
from perdura.steps import publish_pages
from perdura.steps.dip import entries_of
from perdura.steps.ingest import content_digest
from perdura.storage.drop_zone import DEPOSITS
from perdura.storage.store import ObjectInfo, Store

_log = logging.getLogger(__name__)

UNKNOWABLE = (
    "collections, grants, accounts, sources with their credentials, and schedules",
    "restrictions, embargoes and titles that a person changed after an AIP was made (what it had then is taken)",
    "titles of what became no AIP and names itself nowhere: a file name is in no object",
    "the timeline of each step, tape jobs, deliveries and messages",
    "drafts on access systems of others, and records there that no event tells of: `publish` looks for them again",
    "deposits that were announced and never arrived",
    "events that were not yet sealed when the database was lost, but for those inside AIPs",
)
"""What no object tells; a backup of the database does."""


@dataclass(slots=True)
class Rebuilt:
    """What was done: the log, Archives, and what could not be understood or had to be left."""

    log: restoring.Restored = field(default_factory=restoring.Restored)
    events: int = 0
    archives: int = 0
    known: int = 0
    completed: int = 0
    """Those of them of which the log knew more: records on access systems of others, withdrawals."""
    logged: int = 0
    """Sequence number of the last event that the database had before the log was put back."""
    packages: int = 0
    copies: int = 0
    asked: int = 0
    closed: int = 0
    """Archives restricted until a person opens them."""
    findings: list[str] = field(default_factory=list)


def rebuild(
    engine: Engine,
    store: Store,
    settings: Settings,
    keys: Sequence[Verifier] = (),
    say: Callable[[str], object] = _log.info,
    *,
    public: bool = False,
) -> Rebuilt:
    """Rebuild what the registry lacks. To be run while no function runs.

    Archives come back restricted, since no object tells what a person restricted later. With `public` those are open
    whose AIPs say nothing of a restriction.

    Raises Broken where the log in its bucket is not what was signed; nothing is then changed.
    """
    done = Rebuilt()
    seeds = settings.log_signing_keys
    own = [key.verifier for key in signers(settings.log_origin, seeds.get_secret_value())] if seeds else []
    with engine.begin() as connection:
        done.logged = connection.execute(text("SELECT coalesce(max(sequence), 0) FROM premis_log")).scalar_one()
        done.log = restoring.restore(connection, store, settings.bucket_log, [*own, *keys])
    say(f"log: {done.log.leaves} leaves put back, held against {done.log.checkpoints} signed heads")
    aips = by_archive(store.list(settings.bucket_aips, ""))
    sips = by_archive(store.list(settings.bucket_sips, ""))
    for archive, objects, submitted in _merged(aips, sips):
        try:
            _one(engine, store, settings, archive, objects, submitted, done, public=public)
        except PerduraError as error:
            done.findings.append(f"Archive {archive}: {error.message}")
        if done.archives and done.archives % 1000 == 0:
            say(f"{done.archives} Archives")
    _drop_zone(engine, store, settings, done)
    return done


def _completed(connection: Connection, archive: UUID, logged: int) -> bool:
    """Note what the log tells of an Archive of a restored dump since that was made: after that sequence number.

    Its records on access systems of others, and what it was withdrawn from; whether there was something to note.
    """
    before, now = history(_recorded(connection, archive, logged)), history(_recorded(connection, archive))
    withdrawn = {name: reason for name, reason in now.withdrawn.items() if name not in before.withdrawn}
    return rebuilt.place(connection, archive, now.placed, withdrawn, now.decided - before.decided)


Objects = list[ObjectInfo]


def _merged(
    aips: Iterator[tuple[UUID, Objects]], sips: Iterator[tuple[UUID, Objects]]
) -> Iterator[tuple[UUID, Objects, Objects]]:
    """Both listings side by side, in the order of ids; neither is held in memory."""
    left, right = next(aips, None), next(sips, None)
    while left or right:
        first = min(str(each[0]) for each in (left, right) if each)
        objects: Objects = []
        submitted: Objects = []
        if left and str(left[0]) == first:
            objects, left = left[1], next(aips, None)
        if right and str(right[0]) == first:
            submitted, right = right[1], next(sips, None)
        yield UUID(first), objects, submitted


def _one(
    engine: Engine,
    store: Store,
    settings: Settings,
    archive: UUID,
    objects: Objects,
    submitted: Objects,
    done: Rebuilt,
    *,
    public: bool,
) -> None:
    with engine.begin() as connection:
        if rebuilt.known(connection, [archive]):
            done.known += 1
            done.completed += bool(done.log.leaves and _completed(connection, archive, done.logged))
            return
    aips, others = held_aips(store, archive, objects)
    done.findings += [f"Archive {archive}: {other} is no AIP that can be read" for other in others]
    told = importing.record(engine, (event for aip in aips for event in aip.events), actor="perdura/rebuild")
    done.events += told.new
    done.findings += told.refused
    with engine.begin() as connection:
        found = history(_recorded(connection, archive))
        sip = held_sip(store, submitted, _sip_id(archive, found, aips), limits_of(settings)) if submitted else None
        if sip is None and not aips:
            return
        made = as_archive(archive, sip, aips, found, public=public)
        if aips and ACCESS_PAGES in made.publications:
            made = replace(made, offer=_offered(store, settings, aips[-1].package, made, done))
        done.closed += made.closed
        done.asked += len(rebuilt.insert(connection, made))
    done.archives += 1
    done.packages += len(made.packages)
    done.copies += len(made.copies)
    if sip is not None and sip.finding and not found.failed:
        done.findings.append(f"Archive {archive}: of its SIP only the object is known: {sip.finding}")


def _offered(store: Store, settings: Settings, aip: Package, made: RebuiltArchive, done: Rebuilt) -> Offer:
    """What the access pages offer by today's policy; the description alone where none is known to be meant for it.

    In which Collections it was nobody knows any more.
    """
    source = made.resource[0] if made.resource else None
    meant = access_configuration(settings.access).destinations(source, ())
    pages = next((each for each in meant if each.id == ACCESS_PAGES), None)
    if pages is None:
        return Offer(aip.id, "metadata")
    try:
        return publish_pages.offer(aip, entries_of(aip, store), pages, store)
    except PerduraError as error:
        done.findings.append(f"Archive {made.id}: its files are not offered on the access pages: {error.message}")
        return Offer(aip.id, "metadata")


def _embargo(aips: Sequence[HeldAip]) -> Mapping[str, str]:
    """The latest embargo that any AIP tells of, as it stands in the metadata of an Archive."""
    ends = [aip.embargo for aip in aips if aip.embargo is not None]
    return {"embargo_until": max(ends).isoformat()} if ends else {}


def _recorded(connection: Connection, archive: UUID, until: int | None = None) -> Iterator[tuple[str, Event]]:
    """(who recorded it, event) of an Archive, in the order of recording, up to a sequence number if one is given."""
    after = 0
    while page := log.events_of(connection, archive_id=archive, limit=500, after=after):
        wanted = [stored.log_sequence for stored in page]
        rows = connection.execute(
            text("SELECT sequence, actor FROM premis_log WHERE sequence = ANY(:wanted)"), {"wanted": wanted}
        )
        actors = {row.sequence: row.actor for row in rows}
        for stored in page:
            if until is not None and stored.log_sequence > until:
                return
            yield actors.get(stored.log_sequence, ""), stored.event
        after = page[-1].sequence


def _sip_id(archive: UUID, found: History, aips: Sequence[HeldAip]) -> UUID:
    """The id that the SIP has in events, or a new one that is always the same."""
    others = {str(archive), *(str(aip.package.id) for aip in aips)}
    named = next((value for value in found.objects if value not in others), None)
    return UUID(named) if named else derived_id("rebuilt sip", archive)


def as_archive(
    archive: UUID, sip: HeldSip | None, aips: Sequence[HeldAip], found: History, *, public: bool = False
) -> RebuiltArchive:
    """The Archive that objects and history make; decides, and reads nothing."""
    newest = aips[-1] if aips else None
    harvested = bool(newest and newest.resource) or bool(sip and sip.package.key.endswith("/"))
    pipeline = HARVEST_PIPELINE if harvested else DEPOSIT_PIPELINE
    steps = _steps(pipeline, found, sip is not None, newest is not None)
    packages: list[Package] = []
    copies: list[Copy] = []
    refused = "ingest" in found.failed and newest is None
    if sip is not None:
        packages.append(replace(sip.package, accepted=not refused))
    for aip in aips:
        packages.append(replace(aip.package, accepted=aip is newest))
        copies += _copies(aip, found)
    restricted = any(aip.restricted for aip in aips)
    created = _created(archive, sip, newest, found)
    title = newest.title if newest and newest.title else _title(sip) or str(archive)
    hidden = bool({None, ACCESS_PAGES} & found.decided)
    return RebuiltArchive(
        id=archive,
        title=title,
        origin="harvest" if harvested else "deposit" if archive.version == 7 else "upload",
        state=_state(steps, refused=refused),
        pipeline=pipeline,
        created_at=created,
        restricted=restricted,
        closed=not restricted and not (public and aips),
        metadata={**(sip.metadata if sip else {}), **_embargo(aips)},
        content_sha256=_content(sip) if sip and not refused else None,
        resource=newest.resource if newest else None,
        packages=packages,
        copies=copies,
        files=[*([(sip.package.id, sip.files)] if sip else []), *((aip.package.id, aip.files) for aip in aips)],
        steps=steps,
        versions=[
            AipVersion(aip.package.id, number, before.package.id if before else None)
            for number, (before, aip) in enumerate(zip((None, *aips), aips, strict=False), 1)
        ],
        publications={ACCESS_PAGES: found.published} if found.published and not hidden else {},
        placed=found.placed,
        withdrawn=found.withdrawn,
        decided=found.decided,
    )


def _steps(pipeline: Sequence[str], found: History, has_sip: bool, has_aip: bool) -> list[RebuiltStep]:
    """The steps that are proved; the first that is not comes last, failed where the log says so, else to be done."""
    steps = []
    proved = {
        "harvest": has_sip or has_aip,
        "ingest": has_aip or (has_sip and "ingest" in found.done),
        "preserve": has_aip,
        "archive": has_aip and ("archive" in found.done or bool(found.tape)),
        "publish": has_aip and ("publish" in found.done or bool(found.withdrawn)),
    }
    for position, name in enumerate(pipeline):
        if proved[name]:
            steps.append(RebuiltStep(name, position, StepState.COMPLETED, at=found.done.get(name)))
            continue
        attempt = AFTER_LOST_ATTEMPTS if name in found.attempted else 1
        if name in found.failed:
            steps.append(RebuiltStep(name, position, StepState.FAILED, attempt, error=found.failed[name]))
        else:
            steps.append(RebuiltStep(name, position, StepState.QUEUED, attempt))
        break
    return steps


def _state(steps: Sequence[RebuiltStep], *, refused: bool) -> ArchiveState:
    match steps[-1].state:
        case StepState.FAILED:
            return ArchiveState.REJECTED if refused else ArchiveState.FAILED
        case StepState.QUEUED:
            return ArchiveState.QUEUED if len(steps) == 1 else ArchiveState.RUNNING
        case _:
            return ArchiveState.COMPLETED


def _copies(aip: HeldAip, found: History) -> list[Copy]:
    package = aip.package
    uri = f"s3://{package.bucket}/{package.key}"
    copies = [Copy(package.id, "object-store", uri, package.size, package.checksums, None)]
    for taped in found.tape:
        if taped.aip == str(package.id):
            adler32 = package.checksums.get("adler32") or taped.adler32
            sums = {"adler32": adler32} if adler32 else {}
            copies = [*copies[:1], Copy(package.id, "tape", taped.uri, package.size, sums, taped.at, taped.state)]
    return copies


def _created(archive: UUID, sip: HeldSip | None, newest: HeldAip | None, found: History) -> datetime:
    """When it began: a UUID of version 7 says so itself (RFC 9562 5.7)."""
    if archive.version == 7:
        return datetime.fromtimestamp((archive.int >> 80) / 1000, UTC)
    told = [found.begun, newest.created if newest else None, sip.modified if sip else None]
    return min((each.astimezone(UTC) for each in told if each), default=datetime.now(UTC))


def _title(sip: HeldSip | None) -> str:
    elements = {str(label).lower(): str(value) for label, value in (sip.metadata.get("bag_info") or ())} if sip else {}
    return elements.get("title") or elements.get("external-description") or ""


def _content(sip: HeldSip) -> str | None:
    if any("sha256" not in file.checksums for file in sip.files):
        return None
    return content_digest(tuple(sip.files))


def _drop_zone(engine: Engine, store: Store, settings: Settings, done: Rebuilt) -> None:
    """Tell apart what in the drop zone was taken into custody: an object of the same bytes is a SIP already."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT archive_id, etag, size FROM package WHERE kind = :sip AND etag IS NOT NULL"),
            {"sip": PackageKind.SIP},
        ).all()
    sips = {(row.etag.strip('"'), row.size): row.archive_id for row in rows}
    listing = store.list(settings.bucket_incoming, f"{DEPOSITS}/")
    while batch := list(islice(listing, 1000)):
        found = []
        for info in batch:
            archive = sips.get(((info.ref.etag or "").strip('"'), info.size))
            try:
                deposit = UUID(info.ref.key.rpartition("/")[2])
            except ValueError:
                continue
            if archive is None:
                done.findings.append(f"{info.ref.key} in the drop zone is no known SIP: it will be ingested anew")
                continue
            at = info.modified or datetime.now(UTC)
            found.append(DropZoneObject(deposit, archive, info.ref.bucket, info.ref.key, info.size, at))
        with engine.begin() as connection:
            rebuilt.insert_deposits(connection, found)
