"""Notes of CodiMD: the Markdown, and its PDF where the server can make one (harvesting.md 1.2)."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote, unquote

from perdura.clients.http import HttpClient, UpstreamRefused, status_error
from perdura.sources.catalogue import Recognised
from perdura.sources.plan import Capture, Plan, UpstreamFile, planned

NOTE_BYTES = 32 * 2**20
"""Largest note in bytes."""

_FILENAME = re.compile(r'attachment\s*;\s*filename="?(?P<name>[^";]+)"?', re.IGNORECASE)


def plan(record: Recognised, client: HttpClient) -> Plan:
    """Read the note once, to know its name and digest, and plan it and its PDF.

    Raises UpstreamRefused when the answer is no note (a login page), UpstreamUnavailable.
    """
    base = f"{record.base_url}/{quote(record.recid, safe='')}"
    note = client.get(f"{base}/download", body_bytes=NOTE_BYTES)
    if note.status != 200:
        raise status_error(note.status, note.headers, note.url)
    match = _FILENAME.search(note.header("content-disposition") or "")
    if match is None:
        raise UpstreamRefused(f"{record.profile.name} shows no note {record.recid} to us.", code="upstream-closed")
    name = unquote(match["name"]).strip() or f"{record.recid}.md"
    captures = []
    for part in ("info", "revision"):
        answer = client.get(f"{base}/{part}")
        if answer.status == 200 and "json" in (answer.header("content-type") or ""):
            captures.append(Capture.of(answer, f"{part}.json"))
    digest = hashlib.sha256(note.body).hexdigest()
    stem = name.removesuffix(".md")
    files = [
        UpstreamFile(f"{stem}.md", f"{base}/download", len(note.body), {"sha256": digest}, "text/markdown"),
        UpstreamFile(f"{stem}.pdf", f"{base}/pdf", media_type="application/pdf", optional=True),
    ]
    return Plan(
        source=record.source,
        recid=record.recid,
        url=base,
        title=stem,
        captures=(*captures, Capture.of(note, "note.md")),
        files=planned(files),
        revision=digest,
        metadata={"resource_type": "note"},
    )
