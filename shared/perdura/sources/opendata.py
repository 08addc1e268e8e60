"""Records of CERN Open Data: files on EOS, thousands of them behind file indices, ADLER32 (harvesting.md 1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from perdura.clients.http import Answer, HttpClient, UpstreamRefused, status_error
from perdura.sources.catalogue import Recognised
from perdura.sources.inveniordm import checksums
from perdura.sources.json_values import items, mapping, size, text
from perdura.sources.plan import Capture, Plan, UpstreamFile, planned

EOS = "root://eospublic.cern.ch/"
"""Prefix of file addresses; the same path is served over http by the portal."""

INDEX_BYTES = 128 * 2**20
"""Largest file index in bytes."""


def plan(record: Recognised, client: HttpClient) -> Plan:
    """Ask for the record, read its JSON file indices, and plan every file, whatever its type.

    Raises UpstreamRefused, UpstreamUnavailable.
    """
    answer = client.get(f"{record.base_url}/api/records/{quote(record.recid, safe='')}")
    value = _object(answer)
    metadata = mapping(value.get("metadata"))
    captures = [Capture.of(answer, "metadata.json")]
    files: list[UpstreamFile] = []
    for entry in map(mapping, items(metadata.get("files"))):
        file = _file(entry, record.base_url)
        files.append(file)
        if entry.get("type") == "index.json":
            index = client.get(
                f"{record.base_url}/record/{quote(record.recid, safe='')}/files/{quote(file.key)}",
                body_bytes=INDEX_BYTES,
            )
            captures.append(Capture.of(index, f"index-{len(captures)}.json"))
            files += [_file(mapping(item), record.base_url) for item in _list(index)]
    for listing in map(mapping, items(metadata.get("_file_indices"))):
        files += [_file(mapping(item), record.base_url) for item in items(listing.get("files"))]
    return Plan(
        source=record.source,
        recid=record.recid,
        url=f"{record.base_url}/record/{record.recid}",
        title=text(metadata, "title") or f"{record.profile.name} {record.recid}",
        captures=tuple(captures),
        files=planned({file.url: file for file in files}.values()),
        revision=revision(value),
        metadata=_description(metadata),
    )


def current_revision(record: Recognised, client: HttpClient) -> str | None:
    """The revision the record has now."""
    return revision(_object(client.get(f"{record.base_url}/api/records/{quote(record.recid, safe='')}")))


def revision(value: Mapping[str, Any]) -> str | None:
    """Revision number or time of the last change, where the portal gives one."""
    found = value.get("revision", value.get("updated"))
    return None if found is None else str(found)


def _object(answer: Answer) -> Mapping[str, Any]:
    if answer.status != 200:
        raise status_error(answer.status, answer.headers, answer.url)
    value = answer.json()
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
        raise UpstreamRefused("The portal's answer is not a record.", code="upstream-not-a-record")
    return value


def _list(answer: Answer) -> list[Any]:
    if answer.status != 200:
        raise status_error(answer.status, answer.headers, answer.url)
    value = answer.json()
    if not isinstance(value, list):
        raise UpstreamRefused("A file index of this record is not a list.", code="upstream-file-list")
    return value


def _file(entry: Mapping[str, Any], base_url: str) -> UpstreamFile:
    uri = text(entry, "uri") or ""
    key = text(entry, "key") or text(entry, "filename") or uri.rpartition("/")[2]
    if uri.startswith(EOS):
        url = base_url + "/" + quote(uri.removeprefix(EOS).lstrip("/"))
    elif uri.startswith(("http://", "https://")):
        url = uri
    else:
        raise UpstreamRefused("The portal lists a file without an address.", code="upstream-file-list")
    return UpstreamFile(key=key, url=url, size=size(entry.get("size")), checksums=checksums(entry.get("checksum")))


def _description(metadata: Mapping[str, Any]) -> dict[str, Any]:
    names = [text(item, "name") for item in items(metadata.get("authors"))]
    names = names or [text(metadata, "collaboration.name")]
    found = {
        "creators": [name for name in names if name][:200],
        "orcids": {
            name: orcid
            for item in items(metadata.get("authors"))[:200]
            if (name := text(item, "name")) and (orcid := text(item, "orcid"))
        },
        "publisher": metadata.get("publisher"),
        "publication_date": metadata.get("date_published"),
        "resource_type": text(metadata, "type.primary"),
        "doi": metadata.get("doi"),
    }
    return {key: value for key, value in found.items() if value}
