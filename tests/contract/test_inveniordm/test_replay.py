"""The fake is honest: it answers recorded requests as the real InvenioRDM did.

The recordings are a selection of what was sent, so a request whose subject the fake cannot know is passed over; how
many are replayed is asserted, so that they do not become fewer unnoticed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.contract.test_inveniordm.fake import TOKENS, Entry, Fake, Item

RECORDINGS = Path(__file__).parents[4] / "shared/reference/data/inveniordm-api"
REPLAYED = {
    "01-create": 38, "02-files": 56, "03-reput": 10, "04-multipart": 15, "05-versions-edit": 12,
    "06-access-embargo": 25, "07-pids": 5, "13-preservation-sync": 17,
}  # fmt: skip
"""Exchanges of each recording that must be replayed at least."""
NOT_IN_THE_FAKE = re.compile(
    r"access/(links|grants)|files-import|versions/latest|/versions$|/doi/|pids/doi|\\?token=|/m1$|/delete$|include_deleted"
)
_ID = re.compile(r"\b[0-9a-z]{5}-[0-9a-z]{5}\b")

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="../shared is not here")


def supply(item: Item, request: dict[str, Any], response: dict[str, Any]) -> None:
    """What a call that is missing in the recording had made of the record before this one."""
    path = request["path"]
    key = re.search(r"/draft/files/([^/]+)", path)
    good = response["status"] in (200, 201, 202, 204)
    if key is not None and unquote(key[1]) not in item.files and response["status"] != 404:
        part = re.search(r"/content/\\d+$", path)
        made = Entry(unquote(key[1]), 10240, transfer="M", plan=(3, 4096)) if part else Entry(unquote(key[1]))
        item.files[made.key] = made
    if key is not None and path.endswith("/commit") and good:
        entry = item.files[unquote(key[1])]
        if entry.content is None and entry.transfer == "L":
            entry.content = bytes(response["json"].get("size") or 0)
    if "/draft" not in path and item.published is None and item.draft is not None and response["status"] in (200, 403):
        item.published, item.draft = item.draft, None
    if response["status"] == 410:
        item.tombstone = response["json"].get("tombstone")
    if path.endswith("/draft") and item.draft is None and good:
        item.draft = dict(item.published or {})


class Replay:
    """Sends recorded requests to the fake, with the ids that the fake gave to the same records."""

    def __init__(self) -> None:
        self.server = Fake()
        self.client = httpx.Client(base_url=self.server.url, transport=self.server.transport())
        self.ids: dict[str, str] = {}

    def send(self, recorded: dict[str, Any], response: dict[str, Any]) -> httpx.Response | None:
        """The fake's answer; None when it cannot know what the request is about."""
        path = recorded["path"]
        if recorded["method"] == "GET" and path.endswith(("/content", "/latest")):
            return None
        if NOT_IN_THE_FAKE.search(path) or ("<" in str(recorded.get("body") or "")[:1] and "bytes" in recorded["body"]):
            return None
        told = recorded.get("json")
        named = set(_ID.findall(path)) | set(_ID.findall(json.dumps(told) if "hooks" in path else ""))
        if any(name not in self.ids and not name.startswith("zzzzz") for name in named):
            return None
        for name in named & self.ids.keys():
            supply(self.server.items[self.ids[name]], recorded, response)
            path = path.replace(name, self.ids[name])
            told = json.loads(json.dumps(told).replace(name, self.ids[name])) if "hooks" in path else told
        headers = {name: value for name, value in (recorded.get("headers") or {}).items() if name == "If-Match"}
        if recorded.get("content_type"):
            headers["Content-Type"] = recorded["content_type"]
        if recorded.get("as"):
            headers["Authorization"] = f"Bearer {TOKENS[recorded['as']]}"
        content = json.dumps(told).encode() if told is not None else (recorded.get("body") or "").encode()
        return self.client.request(recorded["method"], path, content=content, headers=headers)


def fields(answer: Any) -> list[str]:
    """The fields that an answer complains of, or the complaint itself when it is a text."""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if isinstance(errors, str):
        return [errors]
    return sorted(entry["field"] for entry in errors or [])


@pytest.mark.parametrize("name", REPLAYED)
def test_the_fake_answers_as_the_real_server_did(name: str) -> None:
    replay, replayed = Replay(), 0
    for line in (RECORDINGS / f"{name}.jsonl").read_text().splitlines():
        exchange = json.loads(line)
        request, response = exchange["request"], exchange["response"]
        answer = replay.send(request, response)
        if answer is None:
            continue
        real = response.get("json")
        about = f"{request['method']} {request['path']} {str(request.get('json') or request.get('body'))[:300]}"
        mine = answer.json() if answer.content else None
        assert answer.status_code == response["status"], f"{about}: {mine}"
        assert fields(mine) == fields(real), about
        plain = isinstance(real, dict) and "errors" not in real and "hooks" not in request["path"]
        if plain and real.get("message") and response["status"] < 500:
            assert _ID.sub("", mine["message"])[:8] == _ID.sub("", real["message"])[:8], about
        if (
            request["method"] == "POST"
            and request["path"] == "/api/records"
            and isinstance(real, dict)
            and "id" in real
        ):
            replay.ids[real["id"]] = mine["id"]
        replayed += 1
    assert replayed >= REPLAYED[name], replayed
