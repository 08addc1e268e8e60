"""The body of a record on InvenioRDM: what the Source tells, what is required, and where the package is preserved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from perdura.clients.destinations import Destination
from perdura.outcome import ArchiveView, Package
from perdura.steps.mapping.model import SHORTEST, Mapped
from perdura.steps.mapping.told import joined, left, made
from perdura.steps.mapping.values import doi as doi_of
from perdura.steps.mapping.values import related

MOST_CREATORS = 1000
SHOWN_FORMATS = 100


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the package beside its description; `page` is for who may see it, `access_page` for all."""

    archive: ArchiveView
    aip: Package
    formats: Sequence[str]
    sizes: Sequence[str]
    preserved_at: datetime
    organisation: str
    access_page: str | None
    page: str
    embargo: date | None = None


def package_id(aip: Package) -> str:
    """The identifier by which a record of this package is recognised."""
    return f"urn:uuid:{aip.id}"


def resource_id(archive: ArchiveView) -> str:
    """The identifier that records of all versions of a Resource carry; a deposit is a Resource of its own.

    So the record of a deposit whose AIP was renewed becomes a version of its first one.
    """
    return f"oais:{archive.source or 'archive'}:{archive.recid if archive.source and archive.recid else archive.id}"


def body(mapped: Mapped, facts: Facts, destination: Destination, *, files: bool) -> dict[str, Any]:
    """The whole body of the record (inveniordm.md 1.2, 4)."""
    metadata = _completed(mapped, facts, destination)
    found: dict[str, Any] = {
        "access": access(facts.archive, facts.embargo, destination),
        "files": {"enabled": files},
        "metadata": metadata,
    }
    if destination.naming == "custom-fields":
        found["custom_fields"] = _custom_fields(facts)
    else:
        own = [{"scheme": "urn", "identifier": package_id(facts.aip)}]
        own.append({"scheme": "other", "identifier": resource_id(facts.archive)})
        others = [entry for entry in metadata.get("identifiers", []) if entry not in own]
        metadata["identifiers"] = own + others
    external = _external_doi(metadata, destination)
    if external is not None:
        found["pids"] = {"doi": {"identifier": external, "provider": "external"}}
    return found


def access(archive: ArchiveView, until: date | None, destination: Destination) -> dict[str, Any]:
    """Who may see record and files, under an embargo `until` a day. Files under one are always restricted: the flag
    alone protects nothing.

    An embargo is told only where all is to become public after it: InvenioRDM opens the record and its files when the
    day comes, whatever they were before.
    """
    record = "restricted" if archive.restricted else destination.record_access
    files = "restricted" if record == "restricted" or until else destination.files_access
    found: dict[str, Any] = {"record": record, "files": files}
    if until is not None and record == destination.files_access == "public":
        found["embargo"] = {"active": True, "until": until.isoformat(), "reason": "Embargoed at the source."}
    return found


def _completed(mapped: Mapped, facts: Facts, destination: Destination) -> dict[str, Any]:
    """The metadata with everything that InvenioRDM requires, and what preservation adds."""
    metadata = dict(mapped.metadata)
    archive = facts.archive
    title = str(metadata.get("title") or archive.title or archive.id).strip()
    told = metadata.get("title")
    metadata["title"] = told if told and len(told) >= SHORTEST else _longer(title, told, archive)
    if len(metadata.get("description", "   ")) < SHORTEST:
        left(metadata.pop("description"), "A record takes no description so short.")
    metadata.setdefault("publication_date", facts.preserved_at.date().isoformat())
    if destination.publisher:
        left(metadata.get("publisher"), "The destination names its own publisher.")
    metadata["publisher"] = destination.publisher or metadata.get("publisher") or facts.organisation
    metadata.setdefault("resource_type", {"id": destination.resource_type})
    creators = metadata.get("creators") or [
        {"person_or_org": {"type": "organizational", "name": metadata["publisher"]}}
    ]
    metadata["creators"] = creators[:MOST_CREATORS]
    if len(creators) > MOST_CREATORS:
        left(creators[MOST_CREATORS:], f"A record holds {MOST_CREATORS} creators only.")
    _add(metadata, "contributors", {
        "person_or_org": {"type": "organizational", "name": facts.organisation}, "role": {"id": "datacurator"},
    })  # fmt: skip
    _add(metadata, "dates", {
        "date": facts.preserved_at.date().isoformat(), "type": {"id": "other"}, "description": "Preserved",
    })  # fmt: skip
    _add(metadata, "additional_descriptions", {"description": _technical(facts), "type": {"id": "technical-info"}})
    source = archive.metadata.get("url")
    _add(metadata, "related_identifiers", related(source, "isderivedfrom"))
    _add(metadata, "related_identifiers", related(facts.access_page, "isdescribedby"))
    for name, values in (("formats", facts.formats[:SHOWN_FORMATS]), ("sizes", facts.sizes)):
        for value in values:
            _add(metadata, name, value)
    return metadata


def _longer(title: str, told: Any, archive: ArchiveView) -> str:
    return title if len(title) >= SHORTEST else made(f"{title} ({archive.source or archive.id})", told)


def _add(metadata: dict[str, Any], name: str, value: Any) -> None:
    values = metadata.get(name, [])
    if value in values:
        joined(values[values.index(value)], value)
    elif value is not None:
        metadata[name] = [*values, value]


def _technical(facts: Facts) -> str:
    digests = ", ".join(f"{name} {value}" for name, value in sorted(facts.aip.checksums.items()))
    return f"<p>Archival package {facts.aip.id} of Archive {facts.archive.id}: {facts.aip.size} bytes, {digests}.</p>"


def _custom_fields(facts: Facts) -> dict[str, Any]:
    aip = facts.aip
    found: dict[str, Any] = {
        "oais:aip_id": package_id(aip),
        "oais:source_id": resource_id(facts.archive),
        "oais:artifacts": [
            {
                "type": "AIP",
                "link": facts.page,
                "path": f"s3://{aip.bucket}/{aip.key}",
                "checksum": f"sha256:{aip.checksums['sha256']}" if "sha256" in aip.checksums else "",
                "timestamp": facts.preserved_at.isoformat(),
            }
        ],
    }
    if "sha256" in aip.checksums:
        found["oais:fixity"] = f"sha256:{aip.checksums['sha256']}"
    return found


def _external_doi(metadata: dict[str, Any], destination: Destination) -> str | None:
    """The Source's DOI as the record's own, where the destination takes it; it is then no further identifier."""
    if destination.doi != "external":
        return None
    entries: Sequence[Mapping[str, Any]] = metadata.get("identifiers", [])
    found = next((entry for entry in entries if entry.get("scheme") == "doi"), None)
    if found is None:
        return None
    metadata["identifiers"] = [entry for entry in entries if entry is not found]
    return doi_of(found["identifier"])
