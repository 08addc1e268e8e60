"""The fake is honest: it answers recorded requests as the real InvenioRDM did.

The recordings are a selection of what was sent, so a request whose subject the fake cannot know is passed over; how
many are replayed is asserted, so that they do not become fewer unnoticed.
"""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.contract.test_inveniordm.fake import FAILED, TOKENS, Entry, Fake, Item

RECORDINGS = Path(__file__).parents[4] / "shared/reference/data/inveniordm-api"
REPLAYED = {
    "01-create": 38, "02-files": 56, "03-reput": 10, "04-multipart": 15, "05-versions-edit": 35,
    "06-access-embargo": 25, "07-pids": 8, "08-datacite-doi": 5, "09-communities": 12, "10-lookup": 14,
    "11-record-formats.part1": 17, "13-preservation-sync": 17, "14-transfers-F-R": 9, "15-misc": 10,
    "16-rate-limit": 11, "17-limits": 16, "18-413": 12,
}  # fmt: skip
"""Exchanges of each recording that must be replayed at least."""
NOT_IN_THE_FAKE = re.compile(
    r"access/(links|grants)|files-import|versions/latest|/doi/|\\?token=|/m1$|/delete$|include_deleted"
    r"|files-archive|^/records/"
)
"""What a publisher never asks for. OAI-PMH and formats of export are replayed where they are harvested."""
_ID = re.compile(r"\b[0-9a-z]{5}-[0-9a-z]{5}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_LEFT_OUT = re.compile(r"^<(\d+) bytes>$")
_RECORD = re.compile(r"^/api/records/[0-9a-z]{5}-[0-9a-z]{5}$")
_COUNTED = re.compile(r"^(?:guest|user) (\d+)$")
CRATE = {
    "@graph": [
        {"@id": "./", "name": "A crate", "datePublished": "2026-01-01", "license": {"@id": "#licence"}},
        {"@id": "#licence", "@type": "CreativeWork"},
    ]
}
"""Stands for the crate of 588 bytes whose text is not in the recording; only its missing name of a licence matters."""

SENT = frozenset({"If-Match", "Accept"})
BLANK = {
    "metadata": {"title": "Of another recording"}, "custom_fields": {}, "pids": {}, "files": {"enabled": True},
    "access": {"record": "public", "files": "public"},
}  # fmt: skip

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="../shared is not here")


def supply(item: Item, request: dict[str, Any], response: dict[str, Any]) -> None:
    """What a call that is missing in the recording had made of the record before this one."""
    path, told = request["path"], response.get("json")
    key = re.search(r"/draft/files/([^/]+)", path)
    good = response["status"] in (200, 201, 202, 204)
    if key is not None and unquote(key[1]) not in item.files and response["status"] != 404:
        item.files[unquote(key[1])] = entry_of(unquote(key[1]), path, told if isinstance(told, dict) else {})
    if key is not None and path.endswith("/commit") and good:
        entry = item.files[unquote(key[1])]
        if entry.content is None and entry.transfer == "L":
            entry.content = bytes(response["json"].get("size") or 0)
    if key is not None and path.endswith("/content") and isinstance(told, dict) and told.get("errors") == FAILED:
        item.files[unquote(key[1])].committed = True
    if path.endswith("/pids/doi") and request["method"] == "POST" and not good and item.draft is not None:
        item.draft["pids"]["doi"] = {"identifier": f"10.5072/{item.id}", "provider": "datacite"}
    if "/draft" not in path and item.published is None and item.draft is not None and response["status"] in (200, 403):
        item.published, item.draft = item.draft, None
    if "/draft/pids/doi" in path and response["status"] == 404 and item.draft is not None:
        item.published, item.draft = item.draft, None
    if path.endswith("/draft") and request["method"] == "POST" and good and item.published is None:
        item.published, item.draft = item.draft, None
    if response["status"] == 410:
        item.tombstone = response["json"].get("tombstone")
    if path.endswith("/draft") and item.draft is None and good:
        item.draft = dict(item.published or {})


def entry_of(key: str, path: str, told: dict[str, Any]) -> Entry:
    """A file as it had been announced: what the answer says of its transfer, or what the other parts came to."""
    transfer = told.get("transfer") or {}
    if told.get("status") == "failed":
        return Entry(key, transfer="F", error=transfer.get("error"))
    if not re.search(r"/content/\d+$", path):
        return Entry(key)
    plan = (transfer.get("parts", 3), transfer.get("part_size", 4096))
    return Entry(key, told.get("size", 10240), transfer="M", plan=plan)


class Replay:
    """Sends recorded requests to the fake, with the ids that the fake gave to the same things."""

    def __init__(self) -> None:
        self.server = Fake(allowed_hosts={"127.0.0.1:18821": b"remote bytes"})
        self.client = httpx.Client(base_url=self.server.url, transport=self.server.transport())
        self.ids: dict[str, str] = {}

    def send(self, exchange: dict[str, Any]) -> httpx.Response | None:
        """The fake's answer; None when it cannot know what the request is about."""
        recorded, response = exchange["request"], exchange["response"]
        path, told = recorded["path"], recorded.get("json")
        if NOT_IN_THE_FAKE.search(path) or (
            recorded["method"] == "GET" and path.endswith(("/content", "/latest", "/versions"))
        ):
            return None
        headers = {name: value for name, value in (recorded.get("headers") or {}).items() if name in SENT}
        if headers.get("Accept", "application/json") != "application/json" and response["status"] == 200:
            return None
        named = set(_ID.findall(path.partition("?")[0]))
        if told is not None and re.search(r"/hooks/|/review$|/communities$", path):
            named |= set(_ID.findall(json.dumps(told)))
        for name in named - self.ids.keys():
            if name.startswith("zzzzz") or not self.invented(name, recorded, response):
                return None if not name.startswith("zzzzz") else self.sent(recorded, headers, path, told)
        for name in named:
            if self.ids[name] in self.server.items:
                supply(self.server.items[self.ids[name]], recorded, response)
        for name, mine in self.ids.items():
            path = path.replace(name, mine)
            told = json.loads(json.dumps(told).replace(name, mine)) if name in named else told
        return self.sent(recorded, headers, path, told)

    def invented(self, name: str, recorded: dict[str, Any], response: dict[str, Any]) -> bool:
        """Make the record of another recording, where all that matters of it is that it is there."""
        made = re.match(rf"/api/records/{name}/(draft/(review|files)|communities)", recorded["path"])
        if made is None or response["status"] >= 500:
            return False
        item = Item(name, f"{name}-parent", 1, recorded["as"])
        item.draft, self.server.items[name], self.ids[name] = {**BLANK}, item, name
        return True

    def sent(self, recorded: dict[str, Any], headers: dict[str, str], path: str, told: Any) -> httpx.Response:
        """Send one request as its user."""
        if recorded.get("content_type"):
            headers["Content-Type"] = recorded["content_type"]
        if recorded.get("as"):
            headers["Authorization"] = f"Bearer {TOKENS[recorded['as']]}"
        text = recorded.get("body") or ""
        left_out = _LEFT_OUT.match(text)
        if told is not None or "ld+json" in headers.get("Content-Type", ""):
            content = json.dumps(CRATE if told is None else told).encode()
        else:
            content = bytes(int(left_out[1])) if left_out else text.encode()
        return self.client.request(recorded["method"], path, content=content, headers=headers)

    def count(self, exchange: dict[str, Any]) -> None:
        """Send the requests that are missing before a numbered one."""
        number = _COUNTED.match(exchange.get("note") or "")
        if number is None:
            return
        user = exchange["request"]["as"]
        self.server.limits = {None: 3, "publisher": 6}
        while self.server.counted.get(user, 0) < int(number[1]):
            self.sent(exchange["request"], {}, exchange["request"]["path"], None)

    def learn(self, real: Any, mine: Any) -> None:
        """Which thing of the fake stands for which of the real server."""
        if not isinstance(real, dict) or not isinstance(mine, dict):
            return
        if isinstance(real.get("id"), str) and "id" in mine:
            self.ids[real["id"]] = mine["id"]
        for other, own in zip(real.get("processed", ()), mine.get("processed", ()), strict=True):
            self.learn(other["request"], own["request"])


def fields(answer: Any) -> list[str]:
    """The fields that an answer complains of, or the complaint itself when it is a text."""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if isinstance(errors, str):
        return [errors]
    return sorted(entry["field"] for entry in errors or [])


def alike(exchange: dict[str, Any], answer: httpx.Response) -> None:
    """Whether an answer is that of the real server: its status, what it complains of, and how much it found."""
    request, response = exchange["request"], exchange["response"]
    about = f"{request['method']} {request['path']} {str(request.get('json') or request.get('body'))[:300]}"
    assert answer.status_code == response["status"], f"{about}: {answer.text[:500]}"
    real = response.get("json")
    if real is None:
        return
    mine = answer.json() if answer.content else None
    assert fields(mine) == fields(real), about
    plain = isinstance(real, dict) and "errors" not in real and "hooks" not in request["path"]
    if plain and real.get("message") and response["status"] < 500:
        assert _ID.sub("", mine["message"])[:8] == _ID.sub("", real["message"])[:8], about
    if _RECORD.match(request["path"]) and request["method"] == "GET" and response["status"] == 200:
        assert ("entries" in mine["files"]) is ("entries" in real["files"]), about
        assert all(entry["checksum"] and "size" in entry for entry in real["files"].get("entries", {}).values()), about
    if request["path"].endswith("/versions"):
        assert next_version(mine, date.today()) == next_version(real, date.fromisoformat(real["created"][:10])), about
    if "vocabularies" in request["path"]:
        assert {hit["id"] for hit in mine["hits"]["hits"]} == {hit["id"] for hit in real["hits"]["hits"]}, about
    elif "hits" in (real if isinstance(real, dict) else {}) and "%22" in request["path"]:
        assert mine["hits"]["total"] == real["hits"]["total"], about


def next_version(draft: dict[str, Any], today: date) -> dict[str, Any]:
    """What the draft of a new version takes over from the one before: metadata, dated today, no file, no DOI."""
    metadata = {name: draft["metadata"].get(name) for name in ("title", "publisher", "version", "identifiers")}
    return {
        "metadata": {**metadata, "today": draft["metadata"]["publication_date"] == today.isoformat()},
        "index": draft["versions"]["index"],
        "latest": draft["versions"]["is_latest"],
        "published": draft["is_published"],
        "files": (draft["files"]["enabled"], draft["files"].get("entries")),
        "pids": draft["pids"],
    }


def test_every_recorded_new_version_is_asked_of_the_fake() -> None:
    asked = [
        exchange["request"]["path"]
        for path in sorted(RECORDINGS.glob("*.jsonl"))
        for exchange in map(json.loads, path.read_text().splitlines())
        if exchange["request"]["method"] == "POST" and exchange["request"]["path"].endswith("/versions")
    ]
    assert len(asked) == 4
    assert not any(NOT_IN_THE_FAKE.search(path) for path in asked)


@pytest.mark.parametrize("name", REPLAYED)
def test_the_fake_answers_as_the_real_server_did(name: str) -> None:
    replay, replayed = Replay(), 0
    for line in (RECORDINGS / f"{name}.jsonl").read_text().splitlines():
        exchange = json.loads(line)
        replay.count(exchange)
        answer = replay.send(exchange)
        if answer is None:
            continue
        alike(exchange, answer)
        if exchange["request"]["method"] != "GET" and answer.content:
            replay.learn(exchange["response"].get("json"), answer.json())
        replayed += 1
    assert replayed >= REPLAYED[name], replayed
