"""AIPs and pointer files as Archivematica makes them (archivematica.md 7): layout, names, METS without object links."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4
from xml.sax.saxutils import escape

_HEAD = (
    '<mets:mets xmlns:mets="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.loc.gov/METS/ '
    'http://www.loc.gov/standards/mets/version1121/mets.xsd">'
)
_PREMIS = 'xmlns:premis="http://www.loc.gov/premis/v3" version="3.0"'
ALGORITHM = "sha256"
"""What this Archivematica is set to: md5, sha1, sha256 or sha512."""
_EVENTS = (
    ("ingestion", "", "", ""),
    ("message digest calculation", 'program="python"; module="hashlib.sha256()"', "", "{digest}"),
    ("virus check", 'program="ClamAV (clamd)"; version="ClamAV 1.4.6"; virusDefinitions="27830"', "Pass", ""),
    ("format identification", 'program="Siegfried"; version="1.11.0"', "Positive", "x-fmt/111"),
    ("fixity check", "Bagit - verifypayloadmanifests", "Pass", ""),
)


@dataclass(frozen=True)
class Made:
    """A stored package: its bytes, its pointer file, and its members by path."""

    name: str
    data: bytes
    pointer: bytes
    members: Mapping[str, bytes]


def make(name: str, uuid: str, payload: Mapping[str, bytes], at: datetime, extra: Mapping[str, bytes]) -> Made:
    """A tar.gz AIP of the payload of a bag (paths below `data/`)."""
    base = f"{name}-{uuid}"
    objects = {f"objects/{path}": body for path, body in sorted(payload.items())}
    objects |= {f"objects/submissionDocumentation/transfer-{name}/{path}": body for path, body in extra.items()}
    members = {f"data/{path}": body for path, body in objects.items()}
    members[f"data/METS.{uuid}.xml"] = mets(base, uuid, objects, at)
    members["data/README.html"] = b"<html></html>"
    members["data/logs/filenameChanges.log"] = b""
    oxum = f"{sum(map(len, members.values()))}.{len(members)}"
    members |= {
        "bagit.txt": b"BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": f"Bagging-Date: {at.date()}\nExternal-Identifier: {uuid}\nPayload-Oxum: {oxum}\n".encode(),
        f"manifest-{ALGORITHM}.txt": "".join(f"{_hex(body)} {path}\n" for path, body in members.items()).encode(),
    }
    tags = [path for path in members if not path.startswith("data/")]
    members[f"tagmanifest-{ALGORITHM}.txt"] = "".join(f"{_hex(members[path])} {path}\n" for path in tags).encode()
    data = _packed(base, members, at)
    return Made(f"{base}.tar.gz", data, pointer(uuid, f"{base}.tar.gz", data, at), members)


def _hex(data: bytes) -> str:
    return hashlib.new(ALGORITHM, data).hexdigest()


def _packed(base: str, members: Mapping[str, bytes], at: datetime) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, body in members.items():
            info = tarfile.TarInfo(f"{base}/{path}")
            info.size, info.mtime = len(body), int(at.timestamp())
            archive.addfile(info, io.BytesIO(body))
    return gzip.compress(plain.getvalue(), 1, mtime=0)


def mets(base: str, uuid: str, objects: Mapping[str, bytes], at: datetime) -> bytes:
    """The METS of an AIP: one amdSec per file with its object and events."""
    created = at.strftime("%Y-%m-%dT%H:%M:%S")
    out = ["<?xml version='1.0' encoding='UTF-8'?>\n", _HEAD, f'<mets:metsHdr CREATEDATE="{created}"/>']
    entries = []
    for number, (path, body) in enumerate(objects.items(), 1):
        digest, file_id = _hex(body), str(uuid4())
        out.append(f'<mets:amdSec ID="amdSec_{number}">')
        out.append(_wrapped(f'techMD ID="techMD_{number}"', "OBJECT", _file_object(file_id, path, digest, len(body))))
        for count, (kind, detail, outcome, note) in enumerate(_EVENTS):
            event = _event(kind, detail, outcome, note.format(digest=digest), at)
            out.append(_wrapped(f'digiprovMD ID="digiprovMD_{number}_{count}"', "EVENT", event))
        out.append("</mets:amdSec>")
        use = "submissionDocumentation" if "submissionDocumentation" in path else "original"
        entries.append((use, file_id, number, path))
    out.append("<mets:fileSec>")
    for use in dict.fromkeys(entry[0] for entry in entries):
        out.append(f'<mets:fileGrp USE="{use}">')
        out += [
            f'<mets:file ID="file-{file_id}" GROUPID="Group-{file_id}" ADMID="amdSec_{number}">'
            f'<mets:FLocat LOCTYPE="OTHER" OTHERLOCTYPE="SYSTEM" xlink:href="{_quoted(path)}"/></mets:file>'
            for group, file_id, number, path in entries
            if group == use
        ]
        out.append("</mets:fileGrp>")
    out.append(
        f'</mets:fileSec><mets:structMap TYPE="physical" ID="structMap_1" LABEL="Archivematica default">'
        f'<mets:div TYPE="Directory" LABEL="{escape(base)}"/></mets:structMap></mets:mets>'
    )
    return "".join(out).encode()


def pointer(uuid: str, name: str, data: bytes, at: datetime) -> bytes:
    """The pointer file that the Storage Service keeps of a compressed AIP."""
    digest = _hex(data)
    about = _file_object(uuid, "", digest, len(data), level=1, name="GZIP Compressed Archive", key="x-fmt/266")
    event = _event("compression", "program=tar; algorithm=tar.gzip; version=1.34\n", "", "Everything is Ok", at)
    return (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        + _HEAD
        + '<mets:amdSec ID="amdSec_1">'
        + _wrapped('techMD ID="techMD_1"', "OBJECT", about)
        + _wrapped('digiprovMD ID="digiprovMD_1"', "EVENT", event)
        + "</mets:amdSec>"
        + '<mets:fileSec><mets:fileGrp USE="Archival Information Package">'
        + f'<mets:file ID="{_quoted(name)}" ADMID="amdSec_1"><mets:FLocat LOCTYPE="OTHER" OTHERLOCTYPE="SYSTEM" '
        + f'xlink:href="/aip/{_quoted(name)}"/></mets:file></mets:fileGrp></mets:fileSec>'
        + '<mets:structMap TYPE="physical"><mets:div/></mets:structMap></mets:mets>'
    ).encode()


def _quoted(text: str) -> str:
    return escape(text.replace("%", "%25").replace(" ", "%20"), {'"': "&quot;"})


def _wrapped(tag: str, kind: str, content: str) -> str:
    name = tag.split()[0]
    return (
        f'<mets:{tag}><mets:mdWrap MDTYPE="PREMIS:{kind}"><mets:xmlData>{content}</mets:xmlData></mets:mdWrap>'
        f"</mets:{name}>"
    )


def _identifier(role: str, kind: str, value: str) -> str:
    return (
        f"<premis:{role}><premis:{role}Type>{escape(kind)}</premis:{role}Type>"
        f"<premis:{role}Value>{escape(value)}</premis:{role}Value></premis:{role}>"
    )


def _file_object(
    file_id: str, path: str, digest: str, size: int, *, level: int = 0, name: str = "Plain Text", key: str = "x-fmt/111"
) -> str:
    original = f"<premis:originalName>{escape(f'%transferDirectory%{path}')}</premis:originalName>" if path else ""
    return (
        f'<premis:object {_PREMIS} xsi:type="premis:file">{_identifier("objectIdentifier", "UUID", file_id)}'
        f"<premis:objectCharacteristics><premis:compositionLevel>{level}</premis:compositionLevel><premis:fixity>"
        f"<premis:messageDigestAlgorithm>{ALGORITHM}</premis:messageDigestAlgorithm>"
        f"<premis:messageDigest>{digest}</premis:messageDigest></premis:fixity><premis:size>{size}</premis:size>"
        f"<premis:format><premis:formatDesignation><premis:formatName>{name}</premis:formatName>"
        "<premis:formatVersion></premis:formatVersion></premis:formatDesignation><premis:formatRegistry>"
        "<premis:formatRegistryName>PRONOM</premis:formatRegistryName>"
        f"<premis:formatRegistryKey>{key}</premis:formatRegistryKey></premis:formatRegistry></premis:format>"
        f"</premis:objectCharacteristics>{original}</premis:object>"
    )


def _event(kind: str, detail: str, outcome: str, note: str, at: datetime) -> str:
    agents = (
        ("preservation system", "Archivematica-1.17"),
        ("repository code", "example"),
        ("Archivematica user pk", "1"),
    )
    return (
        f"<premis:event {_PREMIS}>{_identifier('eventIdentifier', 'UUID', str(uuid4()))}"
        f"<premis:eventType>{kind}</premis:eventType>"
        f"<premis:eventDateTime>{at.strftime('%Y-%m-%dT%H:%M:%S.%f')}+00:00</premis:eventDateTime>"
        f"<premis:eventDetailInformation><premis:eventDetail>{escape(detail)}</premis:eventDetail>"
        "</premis:eventDetailInformation><premis:eventOutcomeInformation>"
        f"<premis:eventOutcome>{outcome}</premis:eventOutcome><premis:eventOutcomeDetail>"
        f"<premis:eventOutcomeDetailNote>{escape(note)}</premis:eventOutcomeDetailNote></premis:eventOutcomeDetail>"
        "</premis:eventOutcomeInformation>"
        + "".join(_identifier("linkingAgentIdentifier", kind, value) for kind, value in agents)
        + "</premis:event>"
    )
