"""Records of the Invenio family: InvenioRDM, Zenodo in both its shapes, CDS Videos (harvesting.md 1.1, 1.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from perdura.clients.addresses import joined
from perdura.clients.http import Answer, HttpClient, UpstreamRefused, status_error
from perdura.sources.catalogue import Recognised
from perdura.sources.json_values import items, mapping, text
from perdura.sources.plan import Capture, Closed, Plan, Skipped, UpstreamDeleted, UpstreamFile, planned

_CHECKSUM = re.compile(r"(?P<algorithm>[a-z0-9-]{3,12}):(?P<hex>[0-9a-fA-F]{8,128})")


def plan(record: Recognised, client: HttpClient) -> Plan:
    """Ask for the record and its file list and plan the transfer.

    Raises UpstreamRefused (`upstream-not-found`, `upstream-deleted`, `upstream-closed`, `upstream-not-json`) and
    UpstreamUnavailable. Files that may not be read give a plan with `closed` and no files.
    """
    layout = record.profile.invenio
    headers = {"Accept": record.profile.accept} if record.profile.accept else {"Accept": "application/json"}
    answer = client.get(record.base_url + layout.record.format(recid=quote(record.recid, safe="")), headers=headers)
    value = _object(answer)
    recid = str(value.get("id") or record.recid)
    captures = [Capture.of(answer, "metadata.json")]
    closed = _closed(value)
    entries: list[Mapping[str, Any]] = []
    inline = value.get("files")
    if isinstance(inline, list):
        # Zenodo's legacy shape has the whole list in the record.
        entries = [entry for entry in inline if isinstance(entry, dict)]
        closed = None if entries else closed
    elif layout.files:
        url = _own_link(text(value, "links.files"), record, client) or record.base_url + layout.files.format(
            recid=quote(recid, safe="")
        )
        listing = client.get(url, headers={"Accept": "application/json"})
        captures.append(Capture.of(listing, "files.json"))
        if listing.status in (401, 403):
            closed = closed or Closed("restricted")
        else:
            shown = _object(listing)
            entries = _entries(shown, layout.entries)
            # A record that has no files at all has none that could be closed.
            closed = None if entries or shown.get("enabled") is False else closed
    else:
        entries = _entries(value, layout.entries)
    files, skipped = _files(entries, layout.link, answer.url)
    return Plan(
        source=record.source,
        recid=recid,
        url=text(value, "links.self_html") or text(value, "links.html") or record.url,
        title=_title(value) or f"{record.profile.name} {recid}",
        captures=tuple(captures),
        files=planned(files),
        revision=revision(value),
        parent=text(value, "parent.id") or text(value, "conceptrecid"),
        metadata=description(value),
        restricted=_is_restricted(value),
        closed=closed,
        skipped=tuple(skipped),
    )


def current_revision(record: Recognised, client: HttpClient) -> str | None:
    """The revision the record has now, to see whether it changed while its files were fetched."""
    url = record.base_url + record.profile.invenio.record.format(recid=quote(record.recid, safe=""))
    return revision(_object(client.get(url, headers={"Accept": record.profile.accept or "application/json"})))


def revision(value: Mapping[str, Any]) -> str | None:
    """What changes whenever a record does: revision number and time of the last change."""
    number = value.get("revision_id", value.get("revision"))
    changed = value.get("updated") or value.get("modified")
    parts = [str(part) for part in (number, changed) if part is not None]
    return "/".join(parts) or None


def description(value: Mapping[str, Any]) -> dict[str, Any]:
    """The short description for people, from either shape of a record."""
    metadata = mapping(value.get("metadata"))
    names: list[str] = []
    orcids: dict[str, str] = {}
    for creator in items(metadata.get("creators"))[:200]:
        person = mapping(mapping(creator).get("person_or_org", creator))
        name = person.get("name")
        if isinstance(name, str):
            names.append(name)
            if orcid := _orcid(person):
                orcids[name] = orcid
    kind = mapping(metadata.get("resource_type"))
    found = {
        "creators": names,
        "orcids": orcids,
        "publisher": metadata.get("publisher"),
        "publication_date": metadata.get("publication_date"),
        "resource_type": kind.get("id") or kind.get("type"),
        "version": metadata.get("version"),
        "doi": text(value, "pids.doi.identifier") or value.get("doi"),
        "licence": [mapping(item).get("id") for item in items(metadata.get("rights"))]
        or mapping(metadata.get("license")).get("id"),
        "revision": revision(value),
    }
    return {key: item for key, item in found.items() if item}


def _orcid(person: Mapping[str, Any]) -> str | None:
    """The ORCID iD of a creator, in either shape of a record."""
    told = [each for each in map(mapping, items(person.get("identifiers"))) if each.get("scheme") == "orcid"]
    return text(person, "orcid") or next((text(each, "identifier") for each in told), None)


def _object(answer: Answer) -> Mapping[str, Any]:
    if answer.status == 410:
        raise UpstreamDeleted("The repository has deleted this record.", Capture.of(answer, "tombstone.json"))
    if answer.status != 200:
        raise status_error(answer.status, answer.headers, answer.url)
    value = answer.json()
    if not isinstance(value, dict):
        raise UpstreamRefused("The repository's answer is not a record.", code="upstream-not-a-record")
    return value


def _entries(value: Mapping[str, Any], path: str) -> list[Mapping[str, Any]]:
    found: Any = value
    for part in path.split("."):
        found = mapping(found).get(part)
    if isinstance(found, dict):
        found = list(found.values())
    return [item for item in items(found) if isinstance(item, dict)]


def _files(entries: list[Mapping[str, Any]], link: str, base: str) -> tuple[list[UpstreamFile], list[Skipped]]:
    files, skipped = [], []
    for entry in entries:
        key = str(entry.get("key") or entry.get("filename") or "")
        url = text(entry, link) or text(entry, "links.content") or text(entry, "links.self")
        if not key or url is None:
            raise UpstreamRefused("The repository lists a file without a name or address.", code="upstream-file-list")
        if text(entry, "status") not in (None, "completed"):
            skipped.append(Skipped(key, url, "its upload was never completed"))
            continue
        size = entry.get("size", entry.get("filesize"))
        files.append(
            UpstreamFile(
                key=key,
                url=joined(base, url),
                size=size if isinstance(size, int) and size >= 0 else None,
                checksums=checksums(entry.get("checksum")),
                media_type=text(entry, "mimetype"),
            )
        )
    return files, skipped


def checksums(value: Any) -> dict[str, str]:
    """A declared checksum (`md5:…`, or bare MD5 hex as old Zenodo records have it) by algorithm."""
    if not isinstance(value, str):
        return {}
    if match := _CHECKSUM.fullmatch(value.strip()):
        return {match["algorithm"].replace("-", ""): match["hex"].lower()}
    return {"md5": value.lower()} if re.fullmatch(r"[0-9a-fA-F]{32}", value) else {}


def _own_link(url: str | None, record: Recognised, client: HttpClient) -> str | None:
    """The link, resolved and checked against the source's hosts before it is followed."""
    if url is None:
        return None
    absolute = joined(record.base_url, url)
    client.reach.check(absolute)
    return absolute


def _closed(value: Mapping[str, Any]) -> Closed | None:
    status = text(value, "access.status") or text(value, "metadata.access_right") or "open"
    if status not in ("restricted", "embargoed", "closed"):
        return None
    until = text(value, "access.embargo.until") or text(value, "metadata.embargo_date")
    return Closed(status, _date(until))


def _is_restricted(value: Mapping[str, Any]) -> bool:
    access = mapping(value.get("access"))
    right = text(value, "metadata.access_right") or "open"
    return "restricted" in (access.get("record"), access.get("files")) or right in (
        "restricted",
        "closed",
        "embargoed",
    )


def _title(value: Mapping[str, Any]) -> str | None:
    title = mapping(value.get("metadata")).get("title")
    if isinstance(title, dict):
        title = title.get("title")
    return title if isinstance(title, str) else None


def _date(value: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if value else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found
