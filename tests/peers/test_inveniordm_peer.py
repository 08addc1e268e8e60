"""The peer itself: a record published with nothing but HTTP, found again, and reported as preserved."""

from __future__ import annotations

import uuid

import httpx
import pytest

from tests.peers.inveniordm.peer import Peer

pytestmark = [pytest.mark.peers, pytest.mark.timeout(1800)]


def test_it_publishes_a_record_and_takes_the_status_of_its_preservation(inveniordm: Peer) -> None:
    token = {"Authorization": f"Bearer {inveniordm.tokens['publisher']}"}
    archiver = {"Authorization": f"Bearer {inveniordm.tokens['archiver']}"}
    aip = f"urn:uuid:{uuid.uuid4()}"
    body = {
        "access": {"record": "public", "files": "public"},
        "files": {"enabled": False},
        "metadata": {
            "title": "A preserved package",
            "resource_type": {"id": "dataset"},
            "publication_date": "2026-01-01",
            "publisher": "Archive",
            "creators": [{"person_or_org": {"type": "organizational", "name": "Archive"}}],
        },
        "custom_fields": {"oais:aip_id": aip},
    }
    with httpx.Client(base_url=inveniordm.url, timeout=60) as http:
        draft = http.post("/api/records", json=body, headers=token)
        assert draft.status_code == 201
        assert not draft.json().get("errors")
        record = draft.json()["id"]
        assert http.post(f"/api/records/{record}/draft/actions/publish", headers=token).status_code == 202
        query = f'custom_fields.oais\\:aip_id:"{aip}"'
        found = http.get("/api/user/records", params={"q": query, "allversions": "true"}, headers=token).json()
        assert [hit["id"] for hit in found["hits"]["hits"]] == [record]
        status = {
            "pid": record, "status": "P", "revision_id": 4,
            "archive_timestamp": "2026-10-01T12:00:00+00:00", "uri": "https://archive.example.org/1",
        }  # fmt: skip
        told = http.post("/api/hooks/receivers/preservation/events/", json=status, headers=archiver)
        assert told.status_code == 202
        latest = http.get(f"/api/records/{record}/preservations/latest", headers=archiver).json()
        assert (latest["status"], latest["uri"]) == ("P", "https://archive.example.org/1")
