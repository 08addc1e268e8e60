"""Events of Indico with all their attachments (harvesting.md 1.2).

Two exports are asked for, because no single one has everything: contributions with their sub-contributions, and
sessions. An attachment counts once, by its id, or its address where it has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from perdura.clients.addresses import joined, path_of
from perdura.clients.http import Answer, HttpClient, UpstreamRefused, status_error
from perdura.sources.catalogue import Recognised
from perdura.sources.inveniordm import checksums
from perdura.sources.json_values import items, mapping, size, text
from perdura.sources.plan import Capture, Plan, Skipped, UpstreamFile, planned

DETAILS = ("subcontributions", "sessions")
"""Exports that together list every attachment."""

_NESTED = ("contributions", "subContributions", "subcontributions", "sessions", "entries")


def plan(record: Recognised, client: HttpClient) -> Plan:
    """Export the event and plan its attachments; links are listed as skipped.

    Raises UpstreamRefused (`upstream-not-found` too, although Indico says 200), UpstreamUnavailable.
    """
    captures = []
    attachments: dict[str, tuple[Mapping[str, Any], str]] = {}
    event: Mapping[str, Any] = {}
    for detail in DETAILS:
        answer = client.get(
            f"{record.base_url}/export/event/{quote(record.recid)}.json?detail={detail}&occ=yes&pretty=yes"
        )
        found = _event(answer, record)
        event = event or found
        captures.append(Capture.of(answer, f"metadata-{record.source}-{record.recid}-{detail}.json"))
        for attachment, where in _attachments(found, ""):
            identity = attachment.get("id") or attachment.get("download_url") or attachment.get("link_url")
            attachments.setdefault(str(identity), (attachment, where))
    files, skipped = _sorted(attachments.values(), record.base_url)
    return Plan(
        source=record.source,
        recid=record.recid,
        url=text(event, "url") or f"{record.base_url}/event/{record.recid}/",
        title=text(event, "title") or f"{record.profile.name} {record.recid}",
        captures=tuple(captures),
        files=planned(files),
        metadata=_description(event),
        restricted=event.get("hasAnyProtection") is True,
        skipped=tuple(skipped),
    )


def _event(answer: Answer, record: Recognised) -> Mapping[str, Any]:
    if answer.status != 200:
        raise status_error(answer.status, answer.headers, answer.url)
    value = mapping(answer.json())
    results = items(value.get("results"))
    if value.get("count") != 1 or not results:
        raise UpstreamRefused(f"{record.profile.name} shows no event {record.recid} to us.", code="upstream-not-found")
    return mapping(results[0])


def _attachments(value: Mapping[str, Any], where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every attachment below an event, session, contribution or sub-contribution, and the title it belongs to."""
    for folder in map(mapping, items(value.get("folders"))):
        for attachment in map(mapping, items(folder.get("attachments"))):
            yield attachment, where
    for name in _NESTED:
        for part in map(mapping, items(value.get(name))):
            yield from _attachments(part, text(part, "title") or where)


def _sorted(found: Any, base_url: str) -> tuple[list[UpstreamFile], list[Skipped]]:
    files, skipped = [], []
    for attachment, where in found:
        title = text(attachment, "title") or "attachment"
        link = text(attachment, "link_url")
        if link is not None or attachment.get("type") == "link":
            skipped.append(Skipped(title, link or text(attachment, "download_url") or "", "a link, not a file"))
            continue
        url = text(attachment, "download_url")
        if url is None:
            raise UpstreamRefused(f"The attachment “{title}” has no address.", code="upstream-file-list")
        declared = size(attachment.get("size"))
        files.append(
            UpstreamFile(
                key=text(attachment, "filename") or path_of(url).rpartition("/")[2] or title,
                url=joined(base_url, url),
                # Indico says 0 where it does not know.
                size=declared or None,
                checksums=checksums(attachment.get("checksum")),
                media_type=text(attachment, "content_type"),
                title=": ".join(part for part in (where, title) if part),
            )
        )
    return files, skipped


def _description(event: Mapping[str, Any]) -> dict[str, Any]:
    chairs = [text(chair, "fullName") for chair in items(event.get("chairs"))]
    found = {
        "creators": [name for name in chairs if name],
        "publication_date": text(event, "startDate.date"),
        "resource_type": text(event, "type"),
        "publisher": text(event, "category"),
    }
    return {key: value for key, value in found.items() if value}
