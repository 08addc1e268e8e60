"""The demo's records in the shape InvenioRDM 14 answers (harvesting.md 1.1; inveniordm.md 1.10)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from perdura.local.upstream.content import CONTENT

LANDING_TYPES = (
    "application/json",
    "application/ld+json",
    "application/marcxml+xml",
    "application/vnd.datacite.datacite+json",
    "application/vnd.inveniordm.v1+json",
)
"""Representations that the landing page announces as `describedby`."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a record with its bytes."""

    key: str
    mimetype: str
    data: bytes
    md5: str


@dataclass(frozen=True, slots=True)
class Record:
    """One version of a record: what its author wrote, and its files by key."""

    id: str
    parent: str
    created: str
    updated: str
    revision: int
    index: int
    latest: bool
    metadata: Mapping[str, Any]
    files: Mapping[str, StoredFile]


def _file(entry: Mapping[str, str]) -> StoredFile:
    data = CONTENT[entry["content"]]()
    # MD5 because it is what InvenioRDM declares of its files.
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return StoredFile(entry["key"], entry["mimetype"], data, digest)


@cache
def records() -> Mapping[str, Record]:
    """All records by id, oldest first."""
    raw = json.loads(resources.files(__package__).joinpath("records.json").read_text("utf-8"))
    by_parent: dict[str, list[str]] = {}
    for item in raw:
        by_parent.setdefault(item["parent"], []).append(item["id"])
    found = {}
    for item in raw:
        versions = by_parent[item["parent"]]
        found[item["id"]] = Record(
            id=item["id"],
            parent=item["parent"],
            created=item["created"],
            updated=item["updated"],
            revision=item["revision_id"],
            index=versions.index(item["id"]) + 1,
            latest=versions[-1] == item["id"],
            metadata=MappingProxyType(item["metadata"]),
            files=MappingProxyType({f["key"]: _file(f) for f in item["files"]}),
        )
    return MappingProxyType(found)


def versions_of(parent: str) -> list[Record]:
    """The versions of a parent id, oldest first; empty when there is no such parent."""
    return [record for record in records().values() if record.parent == parent]


def _file_links(record: Record, key: str, base: str) -> dict[str, str]:
    url = f"{base}/api/records/{record.id}/files/{quote(key)}"
    return {"self": url, "content": f"{url}/content"}


def record_json(record: Record, base: str) -> dict[str, Any]:
    """The answer to `GET /api/records/{id}`; links start with `base` (`http://127.0.0.1:8085`)."""
    api = f"{base}/api/records/{record.id}"
    entries = {
        file.key: {
            "checksum": f"md5:{file.md5}",
            "size": len(file.data),
            "mimetype": file.mimetype,
            "key": file.key,
            "access": {"hidden": False},
            "links": _file_links(record, file.key, base),
        }
        for file in record.files.values()
    }
    return {
        "id": record.id,
        "created": record.created,
        "updated": record.updated,
        "links": {
            "self": api,
            "self_html": f"{base}/records/{record.id}",
            "doi": f"https://handle.test.datacite.org/10.5072/{record.id}",
            "parent": f"{base}/api/records/{record.parent}",
            "files": f"{api}/files",
            "latest": f"{api}/versions/latest",
            "versions": f"{api}/versions",
        },
        "revision_id": record.revision,
        "parent": {"id": record.parent, "communities": {}, "pids": {}},
        "versions": {"is_latest": record.latest, "index": record.index},
        "is_published": True,
        "is_draft": False,
        "pids": {
            "doi": {"identifier": f"10.5072/{record.id}", "provider": "datacite", "client": "datacite"},
            "oai": {"identifier": f"oai:demo.perdura:{record.id}", "provider": "oai"},
        },
        "metadata": dict(record.metadata),
        "custom_fields": {},
        "access": {
            "record": "public",
            "files": "public",
            "embargo": {"active": False, "reason": None},
            "status": "open",
        },
        "files": {
            "enabled": True,
            "order": [],
            "count": len(entries),
            "total_bytes": sum(len(file.data) for file in record.files.values()),
            "entries": entries,
        },
        "status": "published",
        "deletion_status": {"is_deleted": False, "status": "P"},
    }


def files_json(record: Record, base: str) -> dict[str, Any]:
    """The answer to `GET /api/records/{id}/files`."""
    return {
        "enabled": True,
        "links": {"self": f"{base}/api/records/{record.id}/files"},
        "entries": [
            {
                "created": record.created,
                "updated": record.updated,
                "mimetype": file.mimetype,
                "metadata": {},
                "access": {"hidden": False},
                "links": _file_links(record, file.key, base),
                "key": file.key,
                "transfer": {"type": "L"},
                "status": "completed",
                "checksum": f"md5:{file.md5}",
                "size": len(file.data),
                "storage_class": "L",
            }
            for file in record.files.values()
        ],
        "default_preview": None,
        "order": [],
    }


def link_header(record: Record, base: str) -> str:
    """The landing page's `Link` header (Signposting level 1), spaced as InvenioRDM spaces it (harvesting.md 4)."""
    api = f"{base}/api/records/{record.id}"
    links = [f'<https://doi.org/10.5072/{record.id}> ; rel="cite-as"']
    links += [f'<{api}> ; rel="describedby" ; type="{kind}"' for kind in LANDING_TYPES]
    links += [
        f'<{base}/records/{record.id}/files/{quote(file.key)}> ; rel="item" ; type="{file.mimetype}"'
        for file in record.files.values()
    ]
    links.append('<https://creativecommons.org/licenses/by/4.0/> ; rel="license"')
    links.append('<https://schema.org/AboutPage> ; rel="type"')
    links.append(f'<{api}> ; rel="linkset" ; type="application/linkset+json"')
    return " , ".join(links)


def linkset_json(record: Record, base: str) -> dict[str, Any]:
    """The linkset of a record (RFC 9264), the answer to `Accept: application/linkset+json`."""
    landing = f"{base}/records/{record.id}"
    api = f"{base}/api/records/{record.id}"
    return {
        "linkset": [
            {
                "anchor": landing,
                "cite-as": [{"href": f"https://doi.org/10.5072/{record.id}"}],
                "describedby": [{"href": api, "type": kind} for kind in LANDING_TYPES],
                "item": [
                    {"href": f"{landing}/files/{quote(file.key)}", "type": file.mimetype}
                    for file in record.files.values()
                ],
            },
            {"anchor": api, "describes": [{"href": landing, "type": "text/html"}]},
        ]
    }
