"""Holey bags: files that only fetch.txt names are fetched, where the operator's policy says so (RFC 8493 2.2.3, F3).

Nothing is fetched unless `PERDURA_FETCH_HOSTS` names hosts: https only, to those hosts alone, no redirects, no address
that is not public, never more bytes than fetch.txt declares. The completed bag is an unpacked copy beside the SIP that
was handed in; it is verified as any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from perdura import __version__
from perdura.clients.http import HttpClient, Limits
from perdura.clients.reach import DestinationRefused, Reach
from perdura.errors import Rejected
from perdura.outcome import ArchiveView, Finding, Outcome, Package, StepState
from perdura.packages.fetch import FetchEntry
from perdura.packages.reader import BagReader
from perdura.packages.verify import Examination
from perdura.ports import Ports
from perdura.premis.model import SUCCESS, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.sources.plan import PlannedFile
from perdura.sources.transfer import OutOfTime, fetch
from perdura.steps.ingest_custody import to_json


def missing(examined: Examination) -> list[FetchEntry]:
    """Entries of fetch.txt whose files are not there, that a manifest lists and whose length is declared."""
    bag = examined.bag
    listed = {path for manifest in bag.manifests if not manifest.is_tag for path in manifest.absent}
    return [
        entry
        for entry in bag.fetch
        if entry.path not in bag.layout.index and entry.path in listed and entry.length is not None
    ]


def completed(
    archive: ArchiveView, sip: Package, examined: Examination, ports: Ports
) -> tuple[Package, Event] | Outcome | Finding | None:
    """The SIP with its missing files, and the event that tells of it.

    None where nothing is missing or nothing may be fetched; a Finding when a file is refused; an Outcome that goes on
    later when time is up. Raises UpstreamUnavailable and what the store raises.
    """
    entries, hosts = missing(examined), frozenset(ports.settings.fetch_hosts.split())
    if not entries or not hosts:
        return None
    if sum(entry.length or 0 for entry in entries) + sip.size > examined.bag.limits.package_size:
        return Finding("fetch-too-large", "The files that fetch.txt names are more than is accepted.")
    bucket, prefix = ports.settings.bucket_sips, f"{archive.id}/completed/"
    there = {info.ref.key: info.size for info in ports.store.list(bucket, prefix)}
    try:
        _unpack(examined, bucket, prefix, there, ports)
        _fetch(entries, examined, bucket, prefix, there, hosts, ports)
    except OutOfTime:
        return Outcome(state=StepState.QUEUED, checkpoint={"sip": to_json(sip), "completed": len(there)})
    except Rejected as error:
        return Finding(error.code, error.message, path=getattr(error, "path", None))
    whole = replace(
        sip, bucket=bucket, key=prefix, container="prefix", size=sum(there.values()), version_id=None, etag=None,
        checksums={},
    )  # fmt: skip
    return whole, _event(archive, whole, entries, ports)


def _unpack(examined: Examination, bucket: str, prefix: str, there: dict[str, int], ports: Ports) -> None:
    """Put every file of the bag below the prefix; those that are there already stay."""
    reader = BagReader(examined.container, examined.bag.layout)
    for file, chunks in reader.files():
        key = prefix + file.path
        if there.get(key) == file.size:
            continue
        if ports.deadline.near():
            raise OutOfTime
        _write(ports, bucket, key, file.size, chunks)
        there[key] = file.size


def _write(ports: Ports, bucket: str, key: str, size: int, chunks: Iterator[memoryview]) -> None:
    with ports.store.writer(bucket, key, size=size, algorithms=()) as writer:
        for chunk in chunks:
            writer.write(chunk)
        writer.finish()


def _fetch(
    entries: list[FetchEntry],
    examined: Examination,
    bucket: str,
    prefix: str,
    there: dict[str, int],
    hosts: frozenset[str],
    ports: Ports,
) -> None:
    settings = ports.settings
    reach = Reach(hosts, allow_loopback=settings.allow_loopback_upstreams)
    limits = Limits(redirects=0)
    with HttpClient(reach, user_agent=settings.harvest_user_agent, limits=limits) as client:
        for number, entry in enumerate(entries):
            key = prefix + entry.path
            if there.get(key) == entry.length:
                continue
            if ports.deadline.near():
                raise OutOfTime
            if urlsplit(entry.url).scheme != "https" and not settings.allow_loopback_upstreams:
                raise DestinationRefused(f"fetch.txt: {entry.path} is not offered by https.")
            planned = _planned(entry, examined)
            done = fetch(planned, client, ports.store, bucket, key, out_of_time=ports.deadline.near)
            there[key] = done.size
            ports.progress("fetching", number + 1, len(entries))


def _planned(entry: FetchEntry, examined: Examination) -> PlannedFile:
    declared = {
        manifest.algorithm: manifest.absent[entry.path].hex()
        for manifest in examined.bag.manifests
        if not manifest.is_tag and entry.path in manifest.absent
    }
    return PlannedFile(
        key=entry.path, url=entry.url, path=entry.path, size=entry.length, checksums=declared, media_type=None,
        title=None, renamed=None,
    )  # fmt: skip


def _event(archive: ArchiveView, sip: Package, entries: list[FetchEntry], ports: Ports) -> Event:
    hosts = sorted({urlsplit(entry.url).hostname or "" for entry in entries})
    return Event(
        id=ports.derived("premis fetch"),
        type="transfer",
        at=ports.clock.now(),
        details=(f"fetch.txt: {len(entries)} files fetched from {', '.join(hosts)}, as the manifests declare them.",),
        outcomes=(EventOutcome(SUCCESS),),
        agents=(Identifier("software", f"perdura/{__version__} ingest", ("executing program",)),),
        objects=(Identifier("UUID", str(archive.id)), Identifier("UUID", str(sip.id))),
    )
