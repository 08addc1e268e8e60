"""The SIP of a harvest: a BagIt 1.0 bag in CERN's layout, as tag files around the payload that is already stored.

`sip.json` has the fields that CERN's tools read (cern-oais-platform.md 2, 3, 20); what they do not know is in one
object of ours, `perdura`. The upstream's metadata lies in `data/meta/` as it was received.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

from perdura import __version__
from perdura.clients.http import redacted
from perdura.sources.legible import written
from perdura.sources.plan import Plan, PlannedFile
from perdura.sources.transfer import BAG_ALGORITHMS, Fetched
from perdura.storage.digests import Digests

SIP_SCHEMA = "https://gitlab.cern.ch/digitalmemory/sip-spec/-/raw/main/versions/sip-schema-v1.json"
"""Constant that CERN's readers expect in `$schema`; it is never fetched."""

WEBSITE = "https://perdura.example.org"

_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 cannot hold (§2.2)."""


@dataclass(frozen=True, slots=True)
class TagFile:
    """One file of the bag that is made here: path in the bag, bytes, digests."""

    path: str
    data: bytes
    checksums: Mapping[str, str]


ALGORITHMS = (*BAG_ALGORITHMS, "sha1")
"""Digests of every tag file: those of the manifests, and SHA-1 for light bags whose upstream has nothing better."""


def tag_file(path: str, data: bytes) -> TagFile:
    """A file of the bag with the digests that the manifests need."""
    digests = Digests(ALGORITHMS)
    digests.update(data)
    return TagFile(path, data, digests.hexdigests())


def name_of(plan: Plan, at: datetime) -> str:
    """The name CERN gives a SIP: `sip::<source>::<recid>::<Unix time>`."""
    return f"sip::{plan.source}::{plan.recid}::{int(at.timestamp())}"


def metadata_files(
    plan: Plan, fetched: Sequence[Fetched], at: datetime, plan_json: bytes, *, light: bool = False
) -> list[TagFile]:
    """Everything in `data/meta/`: the answers as received, the plan, Dublin Core, and `sip.json` last."""
    files = [tag_file(f"data/meta/{capture.name}", capture.body) for capture in plan.captures]
    files.append(tag_file("data/meta/plan.json", plan_json))
    files.append(tag_file("data/meta/dc.xml", dublin_core(plan)))
    files.append(tag_file("data/meta/sip.json", sip_json(plan, fetched, files, at, light=light)))
    return files


def sip_json(
    plan: Plan, fetched: Sequence[Fetched], metadata: Sequence[TagFile], at: datetime, *, light: bool = False
) -> bytes:
    """CERN's `sip.json` (cern-oais-platform.md 2). Upstream checksums stand next to ours; sizes are counted bytes.

    In a `light` package nothing but metadata was downloaded, and `fetched` repeats what the upstream declares.
    """
    results = {item.path: item for item in fetched}
    captured = {f"data/meta/{capture.name}": redacted(capture.url) for capture in plan.captures}
    stamp = int(at.timestamp())
    value = {
        "$schema": SIP_SCHEMA,
        "created_by": f"perdura {__version__}",
        "audit": [
            {
                "tool": {
                    "name": "Perdura",
                    "version": __version__,
                    "website": WEBSITE,
                    "params": {"recid": plan.recid, "source": plan.source, "dry_run": light},
                },
                "action": "sip_create",
                "timestamp": stamp,
                "message": "",
            }
        ],
        "source": plan.source,
        "recid": plan.recid,
        "metadataFile_upstream": redacted(plan.captures[0].url) if plan.captures else None,
        "contentFiles": [
            *(_content_entry(file, results.get(file.path), downloaded=not light) for file in plan.files),
            *(_metadata_entry(file, captured.get(file.path)) for file in metadata),
            {
                "origin": {"filename": "sip.json", "path": ""},
                "metadata": False,
                "downloaded": True,
                "bagpath": "data/meta/sip.json",
            },
        ],
        "sip_creation_timestamp": stamp,
        "usr-meta": {},
        "perdura": {
            "title": plan.title,
            "url": redacted(plan.url),
            "revision": plan.revision,
            "parent": plan.parent,
            "restricted": plan.restricted,
            "skipped": [{"key": s.key, "url": redacted(s.url), "reason": s.reason} for s in plan.skipped],
            "renamed": {file.path: file.renamed for file in plan.files if file.renamed},
            "warnings": list(plan.warnings),
        },
    }
    return written(value)


def _content_entry(file: PlannedFile, result: Fetched | None, *, downloaded: bool) -> dict[str, Any]:
    folder, _, name = file.key.rpartition("/")
    if result is None:
        origin = {"url": redacted(file.url), "filename": name, "path": folder}
        return {"origin": origin, "downloaded": False, "metadata": False, "size": file.size or 0, "checksum": []}
    values = [f"{name}:{value}" for name, value in sorted(result.checksums.items())]
    values += [f"{name}:{value}" for name, value in file.checksums.items() if name not in result.checksums]
    entry: dict[str, Any] = {
        "origin": {"url": redacted(file.url), "filename": name, "path": folder},
        "downloaded": downloaded,
        "metadata": False,
        "bagpath": file.path,
        "checksum": values,
        "size": result.size,
    }
    if file.title:
        entry["origin"]["title"] = file.title
    if result.encoding:
        entry["perdura"] = {"content_encoding": result.encoding, "wire_sha256": result.wire_sha256}
    return entry


def _metadata_entry(file: TagFile, url: str | None) -> dict[str, Any]:
    return {
        "origin": {"filename": file.path.rpartition("/")[2], "path": "", "url": url or ""},
        "metadata": True,
        "downloaded": True,
        "bagpath": file.path,
        "size": len(file.data),
        "checksum": [f"{name}:{value}" for name, value in sorted(file.checksums.items())],
    }


def dublin_core(plan: Plan) -> bytes:
    """Descriptive metadata where CERN's platform looks for a title: a `dc:dc` that is a child of the root."""
    terms: list[tuple[str, Any]] = [("title", plan.title), ("identifier", redacted(plan.url))]
    terms += [("creator", name) for name in plan.metadata.get("creators", ())]
    terms += [
        (term, plan.metadata.get(key))
        for term, key in (
            ("publisher", "publisher"),
            ("date", "publication_date"),
            ("type", "resource_type"),
            ("identifier", "doi"),
        )
    ]
    lines = [f"<dc:{term}>{_xml(str(value))}</dc:{term}>" for term, value in terms if value]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<collection><dc:dc xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
        + "\n".join(lines)
        + "\n</dc:dc></collection>\n"
    ).encode()


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))


def bag_files(
    plan: Plan,
    fetched: Sequence[Fetched],
    metadata: Sequence[TagFile],
    at: datetime,
    organisation: str,
    algorithms: Sequence[str] = BAG_ALGORITHMS,
    further: Sequence[TagFile] = (),
) -> list[TagFile]:
    """The tag files of the bag in the order in which they are written; `bagit.txt` last, so that a bag that was not
    finished is not one (RFC 8493). `algorithms` are those of the payload manifests, `further` other tag files."""
    payload = [(item.path, item.checksums) for item in fetched]
    payload += [(file.path, file.checksums) for file in metadata]
    payload.sort()
    size = sum(item.size for item in fetched) + sum(len(file.data) for file in metadata)
    declaration = tag_file("bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    information = tag_file("bag-info.txt", bag_info(plan, at, organisation, f"{size}.{len(payload)}"))
    manifests = [tag_file(f"manifest-{algorithm}.txt", manifest(algorithm, payload)) for algorithm in algorithms]
    tags = [(file.path, file.checksums) for file in sorted((declaration, information, *manifests, *further), key=_path)]
    tag_manifests = [
        tag_file(f"tagmanifest-{algorithm}.txt", manifest(algorithm, tags)) for algorithm in BAG_ALGORITHMS
    ]
    return [*manifests, information, *tag_manifests, declaration]


def _path(file: TagFile) -> str:
    return file.path


def bag_info(plan: Plan, at: datetime, organisation: str, oxum: str) -> bytes:
    """`bag-info.txt` with the reserved fields that apply (RFC 8493 §2.2.2)."""
    lines = [
        ("Source-Organization", organisation),
        ("Bag-Software-Agent", f"perdura {__version__}"),
        ("Bagging-Date", at.date().isoformat()),
        ("Payload-Oxum", oxum),
        ("External-Identifier", name_of(plan, at)),
        ("External-Description", plan.title),
    ]
    return "".join(f"{label}: {_one_line(value)}\n" for label, value in lines).encode("utf-8", "replace")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]


def manifest(algorithm: str, entries: Iterable[tuple[str, Mapping[str, str]]]) -> bytes:
    """A manifest: two blanks between digest and path, `%`, CR and LF percent-encoded (RFC 8493 §2.1.3)."""
    return "".join(f"{checksums[algorithm]}  {encoded(path)}\n" for path, checksums in entries).encode()


def encoded(path: str) -> str:
    """A path as manifests and `fetch.txt` spell it."""
    return path.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
