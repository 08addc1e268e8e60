"""Records of Invenio 1 (CDS, ILC Document Server) as MARCXML (harvesting.md 1.2; cern-oais-platform.md 5.1, 5.4).

Field 856 is what the wild is like: paths of a Windows share, white space around addresses, previews, links to e-books
behind a login. What is no file of the record is listed as skipped, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lxml import etree

from perdura.clients.addresses import host_of, joined, path_of
from perdura.clients.http import REDIRECTS, HttpClient, UpstreamRefused, redacted, status_error
from perdura.clients.reach import DestinationRefused
from perdura.sources.catalogue import Recognised
from perdura.sources.json_values import size
from perdura.sources.markup import MARC, content, parse_xml
from perdura.sources.plan import Capture, Moved, Plan, Skipped, UpstreamFile, planned

_W_CHECKSUM = re.compile(
    r"\((?:[A-Za-z]+):(?P<algorithm>MD5|SHA1|SHA256|SHA512|ADLER32)[^;]*;(?P<hex>[0-9A-Fa-f]{8,128})"
)
_Z_CHECKSUM = re.compile(r"(?P<algorithm>[a-z0-9]{3,10}):(?P<hex>[0-9a-fA-F]{8,128})")


@dataclass(frozen=True, slots=True)
class Field:
    """One MARC data field: indicators and subfields in order."""

    tag: str
    first: str
    second: str
    subfields: tuple[tuple[str, str], ...]

    def get(self, code: str) -> str | None:
        """The first subfield of that code."""
        return next((value for name, value in self.subfields if name == code and value), None)


def plan(record: Recognised, client: HttpClient) -> Plan:
    """Ask for the MARCXML of a record and plan the transfer of the files that field 856 names.

    Raises Moved when the record lives elsewhere now, UpstreamRefused, UpstreamUnavailable.
    """
    url = f"{record.base_url}/record/{quote(record.recid, safe='')}?of=xm"
    answer = client.get(url, follow=False)
    if answer.status in REDIRECTS and (location := answer.header("location")):
        raise Moved(joined(url, location))
    if answer.status != 200:
        raise status_error(answer.status, answer.headers, answer.url)
    marc, warnings = read(answer.body, record.profile.name)
    files, skipped = files_of(marc, record.base_url, client)
    return Plan(
        source=record.source,
        recid=record.recid,
        url=f"{record.base_url}/record/{record.recid}",
        title=title_of(marc) or f"{record.profile.name} {record.recid}",
        captures=(Capture.of(answer, f"metadata-{record.source}-{record.recid}.xml"),),
        files=planned(files),
        revision=controlfield(marc, "005"),
        metadata=description(marc),
        restricted=any(field.tag == "506" for field in fields(marc)),
        skipped=tuple(skipped),
        warnings=warnings,
    )


def current_revision(record: Recognised, client: HttpClient) -> str | None:
    """The time of the record's last change (controlfield 005)."""
    answer = client.get(f"{record.base_url}/record/{quote(record.recid, safe='')}?of=xm", follow=False)
    if answer.status != 200:
        raise status_error(answer.status, answer.headers, answer.url)
    return controlfield(read(answer.body, record.profile.name)[0], "005")


def read(data: bytes, what: str) -> tuple[etree._Element, tuple[str, ...]]:
    """The `record` element, and what had to be forgiven; raises UpstreamRefused when there is none."""
    warnings: tuple[str, ...] = ()
    try:
        root = parse_xml(data, what)
    except UpstreamRefused:
        root = parse_xml(data, what, recover=True)
        warnings = ("the MARCXML is not well-formed; what could be read of it was used",)
    found = root if root.tag in (MARC + "record", "record") else next(_named(root, "record"), None)
    if found is None:
        raise UpstreamRefused(f"{what} has no such record.", code="upstream-not-found")
    return found, warnings


def _named(root: etree._Element, name: str) -> Iterator[etree._Element]:
    yield from root.iter(MARC + name, name)


def fields(record: etree._Element) -> Iterator[Field]:
    """The data fields of a record."""
    for element in _named(record, "datafield"):
        subfields = tuple((sub.get("code", ""), content(sub)) for sub in _named(element, "subfield"))
        yield Field(element.get("tag", ""), element.get("ind1", " "), element.get("ind2", " "), subfields)


def controlfield(record: etree._Element, tag: str) -> str | None:
    """The text of a control field."""
    return next((content(e) for e in _named(record, "controlfield") if e.get("tag") == tag), None) or None


def title_of(record: etree._Element) -> str | None:
    """Title and remainder of title (245 a, b)."""
    for field in fields(record):
        if field.tag == "245":
            return ": ".join(part for part in (field.get("a"), field.get("b")) if part) or None
    return None


def description(record: etree._Element) -> dict[str, Any]:
    """The short description for people."""
    found: dict[str, Any] = {"creators": []}
    for field in fields(record):
        value = field.get("a")
        if field.tag in ("100", "110", "111", "700", "710") and value:
            found["creators"].append(value)
        elif field.tag == "260":
            found.setdefault("publisher", field.get("b"))
            found.setdefault("publication_date", field.get("c"))
        elif field.tag == "269":
            found["publication_date"] = found.get("publication_date") or field.get("c")
        elif field.tag == "024" and (field.get("2") or "").lower() == "doi":
            found.setdefault("doi", value)
        elif field.tag == "980":
            found.setdefault("resource_type", value)
    found["creators"] = found["creators"][:200]
    return {key: value for key, value in found.items() if value}


def files_of(record: etree._Element, base_url: str, client: HttpClient) -> tuple[list[UpstreamFile], list[Skipped]]:
    """The files that field 856 names, and what it names beside them. The same address counts once."""
    files: dict[str, UpstreamFile] = {}
    skipped: list[Skipped] = []
    for field in fields(record):
        if field.tag != "856":
            continue
        address = field.get("u") or field.get("d")
        if address is None:
            continue
        url = _absolute(address, base_url)
        reason = _no_file(field, url, client)
        if reason is not None:
            skipped.append(
                Skipped(field.get("y") or redacted(address).rpartition("/")[2] or redacted(address), address, reason)
            )
            continue
        key = path_of(url).rpartition("/")[2] or "file"
        files.setdefault(
            url,
            UpstreamFile(key=key, url=url, size=size(field.get("s")), checksums=_declared(field), title=field.get("y")),
        )
    return list(files.values()), skipped


def _absolute(address: str, base_url: str) -> str:
    """The address, with https where the source itself is asked over https."""
    same_host = host_of(address) == host_of(base_url)
    if same_host and base_url.startswith("https:") and address.startswith("http:"):
        return "https:" + address.removeprefix("http:")
    return address


def _no_file(field: Field, url: str, client: HttpClient) -> str | None:
    if field.second == "2":
        return "a related resource, not a file of the record"
    if not url.startswith(("http://", "https://")):
        return "not an http address"
    if (field.get("x") or "").startswith("icon") or "subformat=icon" in url:
        return "a preview image of another file"
    if "/auth.py?" in url:
        return "a page behind a login"
    try:
        client.reach.check(url)
    except DestinationRefused as refused:
        return refused.message
    return None


def _declared(field: Field) -> dict[str, str]:
    found = {}
    if match := _W_CHECKSUM.match(field.get("w") or ""):
        found[match["algorithm"].lower()] = match["hex"].lower()
    if match := _Z_CHECKSUM.fullmatch(field.get("z") or ""):
        found[match["algorithm"]] = match["hex"].lower()
    return found
