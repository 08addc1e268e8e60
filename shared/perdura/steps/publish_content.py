"""What is sent to an access system by the policy of a destination: files of the AIP, and what describes them."""

from __future__ import annotations

from collections.abc import Sequence

from perdura.clients.destinations import Destination
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import Wire
from perdura.outcome import ArchiveView, Package
from perdura.packages.aip_index import Entry
from perdura.ports import Ports
from perdura.premis.model import Event
from perdura.registry import embargo
from perdura.steps import dip, dip_zip, landing_page
from perdura.steps.mapping import choose, other
from perdura.steps.mapping.model import Mapped
from perdura.steps.mapping.report import Unmapped
from perdura.steps.mapping.told import MOST_VALUES, left, texts_in
from perdura.steps.publish_body import Facts
from perdura.steps.publish_sent import Sent
from perdura.steps.publish_wanted import Wanted, check_keys
from perdura.steps.stored_package import pinned
from perdura.storage.runs import Runs

_METADATA_NAMES = ("metadata", "datacite", "dc.", "dublin", "marc", "ro-crate-metadata", "record", "sip.json")
METADATA_FILES = 20
TOO_MUCH = "It is too large to be read for the description, or one of too many."
NOT_READ = "It is broken, or in none of the forms that are read for the description."
BESIDE_THE_AIP = ("data/metadata/METS.xml", "manifest-sha512.txt")
"""Files of an AIP that are sent beside it, so that nobody has to fetch it whole to know what is in it."""


def files(
    archive: ArchiveView, aip: Package, destination: Destination, entries: Sequence[Entry], ports: Ports, sent: Sent
) -> tuple[list[Wanted], tuple[Package, ...], tuple[Event, ...]]:
    """What is sent by the policy of the destination, the DIP that was stored for it, and the event of its making.

    A DIP that was stored before is sent as it is: a record that has it is to be found unchanged. Raises OutOfTime when
    the next invocation has to go on with it.
    """
    content = dip.content_of(destination, entries)
    if content == "metadata":
        return [], (), ()
    if content == "aip":
        return _aip_files(archive, aip, entries, ports), (), ()
    chosen = dip.selected(aip, entries, destination.dip, ports.store)
    identity = dip.identity(aip, destination.id, chosen)
    at = archive.step.created_at or ports.clock.now()
    event_id = ports.derived(f"premis/dip {destination.id}")
    made = dip.made_event(event_id, identity, aip.id, destination.id, len(chosen), at)
    if destination.container == "files" and len(chosen) <= destination.most_files:
        files = _dip_files(aip, chosen, ports)
        if check_keys(files) is None:
            return files, (), (made,)
    name = f"{archive.id}.zip"
    present = archive.package_of_id(identity)
    if present is not None:
        return [_object(present, name, ports)], (), ()
    package = dip_zip.write(aip, chosen, identity, made, ports, sent)
    return [_object(package, name, ports)], (package,), (made,)


def _dip_files(aip: Package, chosen: Sequence[dip.Chosen], ports: Ports) -> list[Wanted]:
    reader = dip.runs(aip, chosen, ports.store)
    return [
        Wanted(each.name, each.entry.member.size, each.entry.member.digests["sha256"], _reading(reader, each.entry))
        for each in chosen
    ]


def _aip_files(archive: ArchiveView, aip: Package, entries: Sequence[Entry], ports: Ports) -> list[Wanted]:
    suffix = aip.key.rpartition("/")[2].partition(".")[2] or aip.container
    beside = [entry for entry in entries if entry.member.path in BESIDE_THE_AIP]
    reader = dip.runs(aip, [dip.Chosen("", entry) for entry in beside], ports.store)
    return [
        _object(aip, f"{archive.id}.{suffix}", ports),
        *(
            Wanted(
                entry.member.path.rpartition("/")[2],
                entry.member.size,
                entry.member.digests["sha256"],
                _reading(reader, entry),
            )
            for entry in beside
        ),
    ]


def _reading(reader: Runs, entry: Entry) -> dip.Read:
    return lambda offset, length: reader.read(entry.member.offset + offset, length)


def _object(package: Package, key: str, ports: Ports) -> Wanted:
    """A package as one file, which a server may also fetch from the object store itself."""
    ref = pinned(package)
    return Wanted(
        key,
        package.size,
        package.checksums.get("sha256"),
        lambda offset, length: ports.store.stream(ref, offset, length),
        link=lambda: ports.store.presigned_get(ref, 6 * 3600),
        details={name: package.checksums[name] for name in ("sha256", "sha512") if name in package.checksums},
        md5=package.checksums.get("md5"),
    )


def mapped(archive: ArchiveView, aip: Package, entries: Sequence[Entry], ports: Ports) -> Mapped:
    """The description of the record, out of the documents that came with the submission and the registry.

    Of documents in one form that with the shortest path is read first: it describes the whole.
    """
    found = [other.short_description(archive.metadata, archive.title)]
    unread, values = {}, 0
    documents = sorted(filter(_is_metadata, entries), key=lambda entry: entry.member.path.count("/"))
    for number, entry in enumerate(documents):
        if number >= METADATA_FILES or entry.member.size > choose.LARGEST or values > MOST_VALUES:
            unread[entry.member.path] = TOO_MUCH
            continue
        data = ports.store.read(pinned(aip), entry.member.offset, entry.member.size)
        mapped = choose.read(entry.member.path, data)
        if mapped is None:
            unread[entry.member.path] = NOT_READ
        else:
            found.append(mapped)
            values += sum(1 for document in mapped.documents for _ in texts_in(document.told))
    merged = choose.merged(found)
    merged.unread = [Unmapped(path, "", reason) for path, reason in unread.items()]
    return merged


def _is_metadata(entry: Entry) -> bool:
    """Whether a file is likely to describe the record: it lies in `meta/`, or is called like metadata."""
    path = entry.member.path
    name = path.rpartition("/")[2].lower()
    if not name.endswith((".json", ".jsonld", ".xml")):
        return False
    return path.startswith("data/") and (name.startswith(_METADATA_NAMES) or "/meta/" in path)


def without_unknown_languages(mapped: Mapped, wire: Wire) -> None:
    """A language that the instance does not know would have the whole draft refused."""
    texts = [*mapped.metadata.get("additional_titles", []), *mapped.metadata.get("additional_descriptions", [])]
    named = [*mapped.metadata.get("languages", []), *(entry["lang"] for entry in texts if "lang" in entry)]
    records = Records(wire)
    known = {code: records.knows("languages", code) for code in {str(entry["id"]) for entry in named}}
    left([entry for entry in named if not known[entry["id"]]], "The access system does not know it.")
    if "languages" in mapped.metadata:
        mapped.metadata["languages"] = [entry for entry in mapped.metadata["languages"] if known[entry["id"]]]
    for entry in texts:
        if "lang" in entry and not known[entry["lang"]["id"]]:
            del entry["lang"]


def facts(archive: ArchiveView, aip: Package, entries: Sequence[Entry], ports: Ports) -> Facts:
    formats: set[str] = set()
    objects = dip.payload(entries)
    size = 0
    for each in objects:
        size += each.entry.member.size
        formats.update([each.entry.format_name] if each.entry.format_name else ())
    shown = landing_page.access_page(archive, ports)
    return Facts(
        archive=archive,
        aip=aip,
        formats=sorted(formats),
        sizes=[f"{len(objects)} files, {size} bytes"] if objects else [],
        preserved_at=archive.step.created_at or ports.clock.now(),
        organisation=ports.settings.organisation,
        access_page=shown,
        page=shown or landing_page.registry_page(archive, ports.settings),
        embargo=embargo.ends(archive.metadata, ports.clock.now()),
    )
