"""`perdura aip`: make, look into, verify and compare AIPs on disk and in object storage, without a running platform."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdura.bag_cli import Command, failing_as_unreadable, source_at
from perdura.packages.reports import shown

if TYPE_CHECKING:
    from perdura.outcome import ArchiveView, Outcome
    from perdura.packages.aip_read import OpenAip
    from perdura.storage.store import Store

_AIPS, _SIPS = "aip", "sip"
DIFFERENT = 1


@click.group()
def aip() -> None:
    """Make AIPs, look into them, verify and compare them.

    PATH is a tar, tar.gz or directory, or s3://bucket/key; the object store is the one that PERDURA_S3_ENDPOINT and
    its companions name. AIPs of Archivematica are read as well as our own.
    """


@aip.command(cls=Command)
@click.argument("sip")
@click.argument("target")
@click.option("--profile", type=click.Choice(["perdura", "eark"]), default="perdura", show_default=True)
@click.option("--title", default="", help="Title of what is preserved.")
@click.option("--organisation", help="Name of the institution. Default: PERDURA_ORGANISATION.")
@click.option("--created", type=click.DateTime(), help="Moment of creation. Default: that of the SIP's last change.")
def make(sip: str, target: str, profile: str, title: str, organisation: str | None, created: datetime | None) -> None:
    """Make an AIP of SIP, a BagIt bag (zip, tar, tar.gz), and write it to TARGET, a .tar on disk or s3://….

    The index of the AIP is written beside it. The same SIP gives the same bytes. A folder that is no bag yet is made
    one by `perdura bag make`. Viruses are looked for when PERDURA_CLAMD names a scanner, and files are characterised
    by the tools of PERDURA_CHARACTERISE. What is there already is never written over.
    """
    with (
        failing_as_unreadable(),
        tempfile.TemporaryDirectory(prefix="perdura-aip-", dir=_beside(target)) as scratch,
    ):
        for place in _places(target):
            _require_free(place)
        store, archive = _deposited(sip, Path(scratch), title, created)
        outcome = _preserved(store, archive, profile, organisation)
        if outcome.packages:
            _deliver(store, outcome, target)
    for finding in outcome.findings:
        click.secho(f"{finding.severity:8} {finding.code} {shown(finding.message)}", fg="yellow", err=True)
    if not outcome.packages:
        click.secho(f"{outcome.error_code}: {shown(outcome.message or '')}", fg="red", err=True)
        sys.exit(2)
    click.echo(f"{target}: {outcome.output['files']} files, {outcome.packages[0].size} bytes")
    click.echo(f"sha256 {outcome.packages[0].checksums['sha256']}")


@aip.command(cls=Command)
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(path: str, as_json: bool) -> None:
    """Show what an AIP holds: its documents, files by format, agents, and how many events of each type."""
    from perdura.packages.aip_read import agents_of, files_of

    with _opened(path) as opened:
        files = files_of(opened)
        events = Counter(" ".join((event.element.findtext("{*}eventType") or "").split()) for event in opened.events())
        found: dict[str, Any] = {
            "path": path,
            "container": opened.container.kind,
            "base": opened.layout.base.rstrip("/"),
            "documents": [name for name, _ in opened.documents],
            "files": len(files),
            "bytes": sum(file.size or 0 for file in files.values()),
            "uses": dict(Counter(file.use for file in files.values()).most_common()),
            "formats": dict(
                Counter(_format(file.format_key, file.format_name) for file in files.values()).most_common()
            ),
            "events": dict(events.most_common()),
            "agents": agents_of(opened),
        }
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for what, count in value.items():
                click.echo(f"  {count:>8}  {shown(str(what))}")
        elif isinstance(value, list):
            click.echo(f"{name}:")
            for each in value:
                click.echo(f"  {shown(each)}")
        else:
            click.echo(f"{name}: {shown(str(value))}")


@aip.command(cls=Command)
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--schemas",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory with mets.xsd, premis.xsd, xlink.xsd …: METS and PREMIS are validated against them too.",
)
def verify(path: str, as_json: bool, schemas: Path | None) -> None:
    """Verify an AIP: every byte of its bag, and its METS against the bag.

    Ends with 0 when it is valid, 1 when it is not, 3 when it could not be read.
    """
    from perdura.packages.aip_payload import names
    from perdura.packages.aip_read import files_of
    from perdura.packages.limits import AIP_LIMITS
    from perdura.packages.package import Verdict
    from perdura.packages.verify import verify as verify_bag

    with _opened(path) as opened:
        report = verify_bag(source_at(path), limits=AIP_LIMITS, algorithms=("sha256",))
        faults = [
            f"{each.code}: {each.message} {each.path or ''}".strip()
            for each in report.findings
            if each.severity != "warning"
        ]
        if report.verdict in {Verdict.INVALID, Verdict.REJECTED} and not faults:
            faults.append(str(report.verdict))
        actual = {file.path: file for file in report.files}
        described = files_of(opened)
        for name, file in described.items():
            stored = actual.get(name)
            if stored is None:
                faults.append(f"file-missing: the METS lists {name}, which is not there")
            elif file.digests.get("sha256", stored.checksums["sha256"]) != stored.checksums["sha256"]:
                faults.append(f"fixity-mismatch: the METS has another SHA-256 for {name}")
            elif file.size is not None and file.size != stored.size:
                faults.append(f"size-mismatch: the METS has another size for {name}")
        faults += [
            f"file-undescribed: {name} is not in the METS" for name in sorted(names(actual)) if name not in described
        ]
        events = sum(1 for _ in opened.events())
        faults += _schema_faults(opened, schemas) if schemas is not None else []
    if as_json:
        click.echo(
            json.dumps({"path": path, "valid": not faults, "files": len(described), "events": events, "faults": faults})
        )
    else:
        for fault in faults:
            click.secho(shown(fault), fg="red")
        word, colour = ("valid", "green") if not faults else ("invalid", "red")
        click.secho(word, fg=colour, bold=True, nl=False)
        click.echo(f" {shown(path)}: {len(described)} files, {events} events, {report.payload_bytes} bytes")
    sys.exit(1 if faults else 0)


@aip.command(cls=Command)
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def events(path: str, as_json: bool) -> None:
    """List the PREMIS events of an AIP, in the order of its METS."""
    from perdura.premis.xml import event_from

    with _opened(path) as opened:
        for part in opened.events():
            event = event_from(part.element)
            outcome = ", ".join(each.outcome for each in event.outcomes if each.outcome)
            about = part.about.original_name if part.about else ""
            if as_json:
                document = {
                    "id": event.identifier_value,
                    "type": event.type,
                    "date": event.date,
                    "details": list(event.details),
                    "outcomes": [{"outcome": each.outcome, "notes": list(each.notes)} for each in event.outcomes],
                    "agents": [each.value for each in event.agents],
                    "objects": [each.value for each in event.objects],
                    "file": about or None,
                }
                click.echo(json.dumps(document, ensure_ascii=False))
            else:
                click.echo(f"{event.date}  {shown(event.type)}: {shown(outcome or '-')}  {shown(about)}".rstrip())


@aip.command(cls=Command)
@click.argument("old")
@click.argument("new")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def diff(old: str, new: str, as_json: bool) -> None:
    """Compare two AIPs by file: what was added, removed, changed, moved, or is now known by another format.

    Ends with 0 when they hold the same, 1 when they differ, 3 when one could not be read.
    """
    from perdura.packages.aip_read import differences, files_of

    with _opened(old) as one, _opened(new) as other:
        found = differences(files_of(one), files_of(other))
    marks = {"added": "+", "removed": "-", "changed": "~", "moved": ">", "format": "f"}
    for each in found:
        if as_json:
            click.echo(json.dumps(asdict(each), ensure_ascii=False))
        else:
            was = f" (was {shown(each.was)})" if each.was else ""
            detail = f" ({shown(each.detail)})" if each.detail else ""
            click.echo(f"{marks[each.kind]} {shown(each.path)}{was}{detail}")
    sys.exit(DIFFERENT if found else 0)


@contextmanager
def _opened(path: str) -> Iterator[OpenAip]:
    from perdura.packages.aip_read import open_aip

    with failing_as_unreadable():
        yield open_aip(source_at(path))


def _schema_faults(opened: OpenAip, directory: Path) -> list[str]:
    from perdura.packages.schema_check import Schemas

    schemas = Schemas(directory)
    return [
        f"schema-invalid: {path}: {fault}"
        for path, _ in opened.documents
        for fault in schemas.faults(opened.container.read(opened.layout.index[path]))
    ]


def _format(key: str | None, name: str | None) -> str:
    return " ".join(each for each in (key, name) if each) or "unknown"


def _beside(target: str) -> str | None:
    """Scratch space on the same disk as the target, so that the finished file is only renamed."""
    return None if target.startswith("s3://") else str(Path(target).absolute().parent)


def _deposited(sip: str, scratch: Path, title: str, created: datetime | None) -> tuple[Store, ArchiveView]:
    """The SIP as an accepted package in a store: a directory on disk, or the object store with scratch beside it."""
    from perdura.ids import derived_id
    from perdura.outcome import ArchiveView, Package, PackageKind, StepView
    from perdura.packages.opening import recognise
    from perdura.packages.sources import LocalFile
    from perdura.storage.directory import DirectoryStore, sha256_of

    local = _downloaded(sip, scratch) if sip.startswith("s3://") else Path(sip)
    if local.is_dir():
        raise click.UsageError("a folder is made a bag by `perdura bag make` first")
    with LocalFile(local) as file:
        container = recognise(file)
        size = file.size
    moment = created.astimezone(UTC) if created else datetime.fromtimestamp(int(local.stat().st_mtime), UTC)
    identity = derived_id("aip make", sha256_of(local))
    store = DirectoryStore(scratch, {_SIPS: local.absolute().parent})
    info = store.head(_SIPS, local.name)
    package = Package(
        derived_id(identity, "sip"), PackageKind.SIP, _SIPS, local.name, container, size, etag=info.ref.etag
    )
    step = StepView(derived_id(identity, "preserve"), "preserve", 1, created_at=moment)
    view = ArchiveView(identity, step, title=title, packages=(package,), created_at=moment)
    return store, view  # type: ignore[return-value]


def _downloaded(url: str, scratch: Path) -> Path:
    from perdura.packages.sources import bucket_and_key
    from perdura.settings import settings
    from perdura.storage.s3 import S3Store

    bucket, key = bucket_and_key(url)
    store = S3Store(settings())
    found = store.head(bucket, key)
    path = scratch / Path(key).name
    with path.open("wb") as file:
        for chunk in store.stream(found.ref):
            file.write(chunk)
    return path


def _preserved(store: Store, archive: ArchiveView, profile: str, organisation: str | None) -> Outcome:
    from perdura.clients.characterise import characterisers
    from perdura.clients.clamd import scanner
    from perdura.clients.pronom import PronomIdentifier
    from perdura.ids import derived_id
    from perdura.ports import Ports
    from perdura.runtime.environment import SystemClock
    from perdura.settings import settings
    from perdura.steps.preserve_builtin import run

    chosen = settings().model_copy(update={"bucket_aips": _AIPS})
    if organisation:
        chosen = chosen.model_copy(update={"organisation": organisation})
    ports = Ports(
        settings=chosen,
        store=store,
        clock=SystemClock(),
        deadline=_NoDeadline(),
        intents=None,  # type: ignore[arg-type]
        progress=lambda *_: None,
        derived=lambda name: derived_id(archive.step.id, 1, name),
        identifier=PronomIdentifier(),
        scanner=scanner(chosen),
        characterisers=characterisers(chosen),
    )
    return run(replace(archive, step=replace(archive.step, input={"profile": profile})), ports)


class _NoDeadline:
    def near(self) -> bool:
        return False


def _places(target: str) -> tuple[str, str]:
    """Where the AIP goes, and its index."""
    return target, target.removesuffix(".tar") + ".index.jsonl"


def _require_free(place: str) -> None:
    """Raises Conflict when something is there already: it may be the only copy."""
    from perdura.errors import Conflict, NotStored
    from perdura.packages.sources import bucket_and_key

    if place.startswith("s3://"):
        from perdura.settings import settings
        from perdura.storage.s3 import S3Store

        with suppress(NotStored):
            S3Store(settings()).head(*bucket_and_key(place))
            raise Conflict(f"{place} is already there")
    elif Path(place).exists():
        raise Conflict(f"{place} is already there")


def _deliver(store: Store, outcome: Outcome, target: str) -> None:
    """Move the AIP and its index from the scratch space to where they were wanted."""
    from perdura.errors import Broken
    from perdura.packages.aip_check import read_back
    from perdura.storage.directory import DirectoryStore

    package = outcome.packages[0]
    assert isinstance(store, DirectoryStore)
    made = (store.path(_AIPS, package.key), store.path(_AIPS, package.index_key or ""))
    for source, destination in zip(made, _places(target), strict=True):
        if not destination.startswith("s3://"):
            source.replace(destination)
            continue
        from perdura.packages.sources import bucket_and_key
        from perdura.settings import settings
        from perdura.storage.s3 import S3Store

        bucket, key = bucket_and_key(destination)
        remote = S3Store(settings())
        with remote.writer(bucket, key, size=source.stat().st_size) as sink, source.open("rb") as file:
            while data := file.read(1 << 20):
                sink.write(data)
            written = sink.finish()
        read_back(remote, written)
        if destination == target and written.checksums.get("sha256") != package.checksums["sha256"]:
            raise Broken(f"{target} has other bytes than were made", code="stored-differs")
