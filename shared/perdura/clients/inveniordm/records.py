"""Drafts, records, versions, review and search of one InvenioRDM (inveniordm.md 1.2, 1.6, 1.9, 1.10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from perdura.clients.inveniordm.model import Record, record_of
from perdura.clients.inveniordm.wire import RdmGone, RdmNotFound, RdmRefused, RdmTooMuch, Wire

FOUND = 100
"""Hits of one search that are looked at: drafts and versions of one Resource, the last changed first."""

PAGES = (25, 5, 1)
"""Hits that one answer is to hold; fewer where the records are so large that it would be too much to read."""


class Records:
    """Requests about records; every method raises the errors of `wire`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def check_token(self) -> None:
        """Ask a private route, because a public one answers 200 to a wrong token (inveniordm.md 1.1)."""
        self._wire.json("GET", "/api/user/records", params={"size": 1})

    def find(self, query: str, *, own: bool = True) -> Sequence[Record]:
        """Own drafts and records (or all public records) that a query finds, versions included; `FOUND` at most.

        One that is shown twice, because it was changed between two pages, is given once.
        """
        found: dict[str, Record] = {}
        smaller, offset = iter(PAGES), 0
        size = next(smaller)
        while offset < FOUND:
            try:
                total, hits = self._page(query, size, offset // size + 1, own=own)
            except RdmTooMuch:
                size = next(smaller, 0)
                if not size:
                    raise
                continue
            found |= {hit.id: hit for hit in hits if hit.id not in found}
            offset += size
            if len(hits) < size or offset >= total:
                break
        return list(found.values())

    def _page(self, query: str, size: int, page: int, *, own: bool) -> tuple[int, Sequence[Record]]:
        """How many there are, and those of one page."""
        path = "/api/user/records" if own else "/api/records"
        asked = {"q": query, "allversions": "true", "size": size, "page": page, "sort": "updated-desc"}
        value = self._wire.json("GET", path, params=asked)
        told = value.get("hits", {}) if isinstance(value, Mapping) else {}
        hits = [record_of(hit) for hit in told.get("hits", [])]
        total = told.get("total")
        return total if isinstance(total, int) else FOUND, hits

    def create(self, body: Any) -> Record:
        """A new draft. Look at `errors` of what comes back."""
        return self._record("POST", "/api/records", body=body)

    def draft(self, record_id: str) -> Record | None:
        """The draft of that id, if there is one."""
        try:
            return self._record("GET", _path(record_id, "draft"))
        except RdmNotFound:
            return None

    def update(self, record_id: str, body: Any, revision: int | None = None) -> Record:
        """Replace the draft whole; with `revision` only while nobody else changed it (RdmChanged otherwise)."""
        headers = {"If-Match": str(revision)} if revision is not None else {}
        return self._record("PUT", _path(record_id, "draft"), body=body, headers=headers)

    def edit(self, record_id: str) -> Record:
        """Open the draft of a published record; the same one however often it is asked for."""
        return self._record("POST", _path(record_id, "draft"))

    def discard(self, record_id: str) -> None:
        """Throw a draft away; one that is not there is as good."""
        try:
            self._wire.json("DELETE", _path(record_id, "draft"))
        except RdmNotFound:
            return

    def publish(self, record_id: str) -> Record | None:
        """Publish a draft; None when the server says there is no draft: published before, or discarded."""
        try:
            return self._record("POST", _path(record_id, "draft/actions/publish"))
        except RdmNotFound:
            return None

    def reserve_doi(self, record_id: str) -> Record:
        """Have the instance make a DOI for the draft, which keeps it through updates; one that is there is as good."""
        try:
            return self._record("POST", _path(record_id, "draft/pids/doi"))
        except RdmRefused as error:
            if "already exists" not in error.message:
                raise
            draft = self.draft(record_id)
            if draft is None:
                raise
            return draft

    def record(self, record_id: str) -> Record | None:
        """The published record, None when it is not published; raises RdmGone for a deleted one."""
        try:
            return self._record("GET", _path(record_id))
        except RdmNotFound:
            return None

    def new_version(self, record_id: str) -> Record:
        """The next draft of the record's family; the same one when asked for one after the other."""
        return self._record("POST", _path(record_id, "versions"))

    def delete(self, record_id: str, reason: str, note: str) -> None:
        """Delete a published record and leave a tombstone; only administrators may (inveniordm.md 1.6).

        One that is deleted already is as good: the server refuses to do it twice, with 400 or 410.
        """
        body = {"removal_reason": {"id": reason}, "note": note, "is_visible": True}
        try:
            self._wire.json("DELETE", _path(record_id, "delete"), body=body)
        except RdmRefused:
            try:
                self.record(record_id)
            except RdmGone:
                return
            raise

    def knows(self, vocabulary: str, value: str) -> bool:
        """Whether the instance has a value in a vocabulary; it refuses a draft that carries an unknown one."""
        try:
            self._wire.json("GET", f"/api/vocabularies/{quote(vocabulary, safe='')}/{quote(value, safe='')}")
        except RdmNotFound:
            return False
        return True

    def community(self, slug: str) -> str:
        """The id of a community by its name in addresses."""
        value = self._wire.json("GET", f"/api/communities/{quote(slug, safe='')}")
        return str(value["id"])

    def put_review(self, record_id: str, community: str) -> str:
        """Say which community shall review the draft; gives the id of the request."""
        body = {"receiver": {"community": community}, "type": "community-submission"}
        return str(self._wire.json("PUT", _path(record_id, "draft/review"), body=body)["id"])

    def review(self, record_id: str) -> str | None:
        """The id of the request for review of a draft, whoever made it; None when there is none."""
        try:
            return str(self._wire.json("GET", _path(record_id, "draft/review"))["id"])
        except RdmNotFound:
            return None

    def submit_review(self, record_id: str, note: str) -> None:
        """Hand the draft in for review; a submission that was handed in before is as good."""
        body = {"payload": {"content": note, "format": "html"}}
        self._wire.json("POST", _path(record_id, "draft/actions/submit-review"), body=body)

    def request_status(self, request_id: str) -> str:
        """State of a request: `created`, `submitted`, `accepted`, `declined`, `cancelled`, `expired`."""
        value = self._wire.json("GET", f"/api/requests/{quote(request_id, safe='')}")
        return str(value.get("status") or "")

    def cancel_request(self, request_id: str) -> None:
        """Take back what was handed in for review; raises RdmRefused for a request that was decided meanwhile."""
        path = f"/api/requests/{quote(request_id, safe='')}/actions/cancel"
        self._wire.json("POST", path, body={"payload": {"content": "Withdrawn.", "format": "html"}})

    def add_to_community(self, record_id: str, community: str) -> None:
        """Ask for a published record to be included in a community."""
        body = {"communities": [{"id": community}]}
        self._wire.json("POST", _path(record_id, "communities"), body=body)

    def _record(self, method: str, path: str, **more: Any) -> Record:
        value = self._wire.json(method, path, **more)
        try:
            return record_of(value)
        except ValueError as error:
            raise RdmRefused(f"{self._wire.host} answered {method} without a record.", 200) from error


def phrase(value: str) -> str:
    """A value as a quoted phrase of a query."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _path(record_id: str, action: str = "") -> str:
    path = f"/api/records/{quote(record_id, safe='')}"
    return f"{path}/{action}" if action else path
