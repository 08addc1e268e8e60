"""A fake InvenioRDM for unit speed: the behaviour that a publisher has to survive, in memory (inveniordm.md 6.3).

It is kept honest by the replay of recorded exchanges (`test_replay.py`) and by running the same suite as the real one.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import unquote

import httpx

from tests.contract.test_inveniordm import communities as reviewing
from tests.contract.test_inveniordm.answers import CRATE, Refused, answer, bearer, crate_of, json_of, refusal
from tests.contract.test_inveniordm.rules import LANGUAGES, VOCABULARIES, Errors, Invalid, judged

TOKENS = {"publisher": "token-publisher", "other": "token-other", "archiver": "token-archiver", "admin": "token-admin"}
FAILED = "File upload transfer failed."


@dataclass
class Entry:
    """A file of a draft or record."""

    key: str
    size: int | None = None
    content: bytes | None = None
    committed: bool = False
    transfer: str = "L"
    parts: dict[int, bytes] = field(default_factory=dict)
    plan: tuple[int, int] = (0, 0)
    declared: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    """What became of a transfer by the server (F) that failed."""
    source: str | None = None
    """The host from which the server is still to fetch it (F)."""
    computing: bool = False
    """Whether the task that computes its MD5 has still to run (M)."""

    def checksum(self) -> str | None:
        """MD5 as the server tells it; with multipart a declared one is believed."""
        if not self.committed or self.content is None:
            return None
        if self.computing:
            return f"multipart:{'0' * 32}-{self.plan[0]}-{self.plan[1]}"
        if self.transfer == "M" and self.declared:
            return self.declared
        return f"md5:{hashlib.md5(self.content).hexdigest()}"


@dataclass
class Item:
    """One record with its draft."""

    id: str
    parent: str
    index: int
    owner: str
    draft: dict[str, Any] | None = None
    published: dict[str, Any] | None = None
    files: dict[str, Entry] = field(default_factory=dict)
    errors: Errors = field(default_factory=list)
    revision: int = 4
    tombstone: dict[str, Any] | None = None
    review: str | None = None
    quota: int | None = None
    """Bytes that its files may have; set when the draft is made."""


@dataclass
class Fake:
    """The server: `transport()` for a client, and switches for its moods."""

    url: str = "http://rdm.test"
    max_content: int = 100 * 2**20
    max_files: int = 100
    quota: int = 10**10
    items: dict[str, Item] = field(default_factory=dict)
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    communities: dict[str, str] = field(default_factory=lambda: {"archive": "community-1"})
    curators: dict[str, str] = field(default_factory=dict)
    """Who decides on requests, by id of the community; `admin` where nobody else is named."""
    unreviewed: dict[str, set[str]] = field(default_factory=dict)
    """Who may include published records without a review, by id of the community; anybody in one not named."""
    limits: dict[str | None, int] = field(default_factory=dict)
    """Requests that a user (None: a guest) may send in a minute that never ends."""
    registers_dois: bool = True
    """Without it an external DOI makes the server fail."""
    reviews_versions: bool = False
    """Whether the instance wants new versions of records in a community reviewed, which it then asks for itself."""
    lists_files: bool = True
    """Whether records tell of their files, as they do to everybody who may see those."""
    lagging: bool = False
    """Whether the search shows only what was there at the last `refresh()`."""
    _indexed: set[str] = field(default_factory=set)
    counted: dict[str | None, int] = field(default_factory=dict)
    allowed_hosts: dict[str, bytes] = field(default_factory=dict)
    """Hosts from which files may be fetched (F), and what they give for any address."""
    slow: bool = False
    """Whether background tasks (the MD5 of a file in parts, a transfer F) wait for `work_off()`."""
    preservations: list[dict[str, Any]] = field(default_factory=list)
    storm: int = 0
    """Answers 429 to so many requests."""
    storm_wait: str = "1"
    calls: list[tuple[str, str]] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def number(self) -> int:
        """A number that was not used before."""
        return int(next(self._numbers))

    def transport(self) -> httpx.BaseTransport:
        """A transport that reaches this server."""
        return httpx.MockTransport(self._respond)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        request.read()
        path = request.url.raw_path.decode().partition("?")[0]
        self.calls.append((request.method, path))
        if self.storm > 0:
            self.storm -= 1
            return answer(429, {"status": 429, "message": "3 per 1 minute"}, {"Retry-After": self.storm_wait})
        user = next((name for name, token in TOKENS.items() if bearer(request) == token), None)
        self.counted[user] = self.counted.get(user, 0) + 1
        if self.counted[user] > self.limits.get(user, self.counted[user]):
            return self._too_many(path, self.limits[user])
        for method, pattern, handler in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == request.method:
                try:
                    return handler(self, request, user, *map(unquote, match.groups()))
                except Invalid as error:
                    return refusal(400, error.message, error.errors)
                except Refused as error:
                    return refusal(error.status, error.message, error.errors, error.more)
        return refusal(404, "The requested URL was not found on the server.")

    def refresh(self) -> None:
        """Let the search see everything that is there."""
        self._indexed = set(self.items)

    def work_off(self, *, gone: bool = False) -> None:
        """Run the background tasks that are waiting; `gone`: nothing is found where files are fetched from."""
        for entry in [entry for item in self.items.values() for entry in item.files.values()]:
            entry.computing = False
            if entry.source is not None:
                self._pull(entry, entry.source, gone=gone)

    def _pull(self, entry: Entry, host: str, *, gone: bool = False) -> None:
        """What the task of a transfer F does: content and commit in one, or words of the other server."""
        entry.source = None
        if gone:
            entry.error = "<Error><Code>AccessDenied</Code></Error>"
        else:
            entry.content, entry.committed = self.allowed_hosts[host], True

    def lift_embargoes(self, day: str) -> None:
        """What the server does every night: whose embargo is over is public, record and files, whatever it was."""
        for told in [item.published for item in self.items.values() if item.published]:
            embargo = told["access"].get("embargo") or {}
            if embargo.get("active") and embargo["until"] <= day:
                told["access"] = {"record": "public", "files": "public", "embargo": {**embargo, "active": False}}

    def _too_many(self, path: str, limit: int) -> httpx.Response:
        headers = {"Retry-After": "60", "X-RateLimit-Remaining": "0"}
        if not path.startswith("/api/"):
            return httpx.Response(429, html="<!DOCTYPE html>", headers=headers)
        return answer(429, {"status": 429, "message": f"{limit} per 1 minute"}, headers)

    # --- drafts and records

    def create(self, request: httpx.Request, user: str | None) -> httpx.Response:
        if user is None:
            raise Refused(403, "Permission denied.")
        body = crate_of(request) if CRATE in request.headers.get("Content-Type", "") else json_of(request)
        if body.get("pids") and not self.registers_dois:
            raise Refused(500, "The server encountered an internal error and was unable to complete your request.")
        stored, errors = judged(body, self._dois())
        number = next(self._numbers)
        item = Item(f"{number:05d}-fake0", f"{number:05d}-paren", 1, user, errors=errors, quota=self.quota)
        item.draft = self._draft(body, stored)
        self.items[item.id] = item
        return self._shown(201, item, item.draft, errors=errors)

    def put(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        item = self.own(identifier, user, draft=True)
        expected = request.headers.get("If-Match")
        if expected is not None and not expected.isdecimal():
            raise Refused(400, "A validation error occurred.", [{"field": "if_match", "messages": ["Not a number"]}])
        if expected is not None and int(expected) != item.revision:
            raise Refused(412, f"Revision id provided({expected}) doesn't match record's one({item.revision})")
        body = json_of(request)
        stored, errors = judged(body, self._dois())
        assert item.draft is not None
        pids = item.draft["pids"] if "pids" not in body else stored["pids"]
        kept = {"communities": item.draft["communities"]} if "communities" in item.draft else {}
        item.draft = {**self._draft(body, stored), "pids": pids, **kept}
        item.errors = errors
        if item.draft["files"]["enabled"] and not item.files:
            errors.append({"field": "files.enabled", "messages": [_MISSING]})
        item.revision += 1
        return self._shown(200, item, item.draft, errors=errors)

    def get_draft(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        item = self.own(identifier, user, draft=True)
        return self._shown(200, item, item.draft, errors=[])

    def get_record(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        item = self._readable(identifier, user)
        if request.headers.get("Accept", "*/*") not in ("*/*", "application/json"):
            raise Refused(406, "Invalid 'Accept' header. Expected one of: application/json")
        return self._shown(200, item, item.published, listed=self._files_seen(item, user))

    def discard(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        item = self.own(identifier, user, draft=True)
        if item.review is not None and self.requests[item.review]["status"] == "submitted":
            raise Refused(400, "You cannot delete a draft with an open review.")
        item.draft = None
        if item.published is None:
            del self.items[identifier]
        return httpx.Response(204)

    def edit(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        item = self.own(identifier, user)
        item.draft = item.draft or copy.deepcopy(item.published)
        return self._shown(201, item, item.draft)

    def publish(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        if identifier in self.items and self.items[identifier].draft is None:
            raise Refused(404, "Not found.")
        item = self.own(identifier, user, draft=True)
        if item.review is not None and self.requests[item.review]["status"] in ("created", "submitted"):
            raise Refused(400, "You cannot publish a draft with an open review request. Cancel it first.")
        self.make_public(item)
        return self._shown(202, item, item.published)

    def make_public(self, item: Item) -> None:
        assert item.draft is not None
        if any(not entry.committed for entry in item.files.values()):
            message = "One or more files have not completed their transfer, please wait."
            edited = [{"field": "files", "messages": [message]}] if item.published else None
            raise Refused(400, message, edited)
        dropped = ("Unknown field.", "Missing publisher field required for DOI registration.")
        standing = [
            error for error in item.errors if error["field"] != "files.enabled" and error["messages"][0] not in dropped
        ]
        if standing:
            raise Refused(400, "A validation error occurred.", standing)
        if item.draft["files"]["enabled"] and not item.files:
            raise Refused(400, "A validation error occurred.", [{"field": "files.enabled", "messages": [_MISSING]}])
        pids = {**item.draft["pids"], "oai": {"identifier": f"oai:rdm.test:{item.id}", "provider": "oai"}}
        pids.setdefault("doi", {"identifier": f"10.5072/{item.id}", "provider": "datacite"})
        item.published, item.draft = {**item.draft, "pids": pids}, None

    def versions(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        item = self.own(identifier, user)
        family = [other for other in self.items.values() if other.parent == item.parent]
        following = next((other for other in family if other.published is None and other.draft is not None), None)
        if following is None:
            newest = max(family, key=lambda other: other.index)
            assert newest.published is not None
            number = next(self._numbers)
            following = Item(f"{number:05d}-fake0", item.parent, newest.index + 1, item.owner, quota=self.quota)
            copied = copy.deepcopy(newest.published)
            copied["metadata"].pop("version", None)
            copied["metadata"]["publication_date"] = date.today().isoformat()
            following.draft = {**copied, "pids": {}}
            self.items[following.id] = following
            if self.reviews_versions and copied.get("communities"):
                reviewing.asked(self, following, copied["communities"][0])
        return self._shown(201, following, following.draft)

    def delete_record(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        if user != "admin":
            raise Refused(403, "Permission denied.")
        item = self.items.get(identifier)
        if item is None or item.published is None:
            raise Refused(404, "The persistent identifier does not exist.")
        if item.tombstone is not None:
            raise Refused(400, "Record in unexpected deletion status.")
        told = json_of(request)
        item.tombstone = {
            "note": told.get("note", ""),
            "removal_reason": told["removal_reason"],
            "removal_date": "2026-11-24T12:00:00Z",
            "is_visible": True,
        }
        return httpx.Response(204)

    def delete_own(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        raise Refused(403, "Permission denied.")

    def find_own(self, request: httpx.Request, user: str | None) -> httpx.Response:
        if user is None:
            raise Refused(403, "Permission denied.")
        return self._found(request, [item for item in self.items.values() if item.owner == user])

    def find(self, request: httpx.Request, user: str | None) -> httpx.Response:
        """The public search: a wrong token is no error, restricted records just vanish (inveniordm.md 1.1)."""
        return self._found(request, [item for item in self.items.values() if self._seen(item, user)])

    def _seen(self, item: Item, user: str | None) -> bool:
        if item.published is None:
            return False
        return item.published["access"]["record"] == "public" or user in (item.owner, "admin")

    def _found(self, request: httpx.Request, items: list[Item]) -> httpx.Response:
        """Values in quotes are looked for; without `allversions` older versions are hidden (1.10)."""
        wanted = re.findall(r'"((?:[^"\\]|\\.)*)"', request.url.params.get("q", ""))
        whole = request.url.params.get("allversions") == "true"
        hits = []
        for item in items:
            told = item.published or item.draft
            unseen = self.lagging and item.id not in self._indexed
            if told is None or item.tombstone is not None or unseen:
                continue
            value = self._value(item, told)
            if not whole and item.published and not value["versions"]["is_latest"]:
                continue
            if not wanted or any(each in json.dumps(told, ensure_ascii=False) for each in wanted):
                hits.append(value)
        size, page = (int(request.url.params.get(name, default)) for name, default in (("size", 10), ("page", 1)))
        shown = hits[::-1][(page - 1) * size : page * size]
        return answer(200, {"hits": {"hits": shown, "total": len(hits)}}, {"Retry-After": "59"})

    def _draft(self, body: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
        told = body.get("files") or {}
        files = {"enabled": bool(told.get("enabled", True))}
        files |= {"default_preview": told["default_preview"]} if told.get("default_preview") else {}
        return {**stored, "files": files}

    def _dois(self) -> set[str]:
        published = [item.published for item in self.items.values() if item.published]
        return {told["pids"]["doi"]["identifier"] for told in published if "doi" in told["pids"]}

    def own(self, identifier: str, user: str | None, *, draft: bool = False) -> Item:
        item = self.items.get(identifier)
        if item is not None and item.tombstone is not None:
            raise Refused(410, "Record deleted", more={"tombstone": item.tombstone})
        if item is None or (draft and item.draft is None and user in (item.owner, "admin")):
            raise Refused(404, "The persistent identifier does not exist.")
        if user not in (item.owner, "admin"):
            raise Refused(403, "Permission denied.")
        return item

    def _readable(self, identifier: str, user: str | None) -> Item:
        item = self.items.get(identifier)
        if item is None or (item.published is None and item.tombstone is None):
            raise Refused(404, "The persistent identifier does not exist.")
        if item.tombstone is not None:
            raise Refused(410, "Record deleted", more={"tombstone": item.tombstone})
        assert item.published is not None
        if item.published["access"]["record"] == "restricted" and user not in (item.owner, "admin"):
            raise Refused(403, "Permission denied.")
        return item

    def _files_seen(self, item: Item, user: str | None) -> bool:
        open_files = item.published is None or item.published["access"]["files"] != "restricted"
        return open_files or user in (item.owner, "admin")

    def _value(self, item: Item, told: dict[str, Any], *, listed: bool = True) -> dict[str, Any]:
        status = "published" if item.published else ("new_version_draft" if item.index > 1 else "draft")
        request = self.requests.get(item.review or "")
        if request is not None and not item.published:
            status = {"submitted": "in_review", "declined": "declined"}.get(request["status"], status)
        latest = max(
            (other.index for other in self.items.values() if other.parent == item.parent and other.published), default=0
        )
        files = dict(told["files"])
        if listed and self.lists_files:
            files["entries"] = {
                entry.key: {"key": entry.key, "size": len(entry.content), "checksum": entry.checksum()}
                for entry in item.files.values()
                if entry.committed and entry.content is not None
            }
        return {
            "id": item.id,
            "revision_id": item.revision,
            "parent": {
                "id": item.parent,
                "communities": {"ids": list(told.get("communities", []))},
                **({"review": {"id": item.review}} if item.review else {}),
            },
            "versions": {"index": item.index, "is_latest": item.index == latest},
            "is_published": item.published is not None,
            "status": status,
            "links": {"self_html": f"{self.url}/records/{item.id}"},
            **{name: told[name] for name in ("metadata", "custom_fields", "access", "pids")},
            "files": files,
        }

    def _shown(
        self,
        status: int,
        item: Item,
        told: dict[str, Any] | None,
        errors: Errors | None = None,
        *,
        listed: bool = True,
    ) -> httpx.Response:
        assert told is not None
        value = self._value(item, told, listed=listed) | ({"errors": errors} if errors else {})
        return answer(status, value, {"ETag": f'"{item.revision}"', "Retry-After": "59"})

    def reserve(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        item = self.own(identifier, user, draft=True)
        assert item.draft is not None
        if "doi" in item.draft["pids"]:
            wrong = [{"field": "pids.doi", "messages": ["A PID already exists for type doi"]}]
            raise Refused(400, "A validation error occurred.", wrong)
        item.draft["pids"]["doi"] = {"identifier": f"10.5072/{item.id}", "provider": "datacite"}
        return self._shown(201, item, item.draft)

    def free(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        if identifier in self.items and self.items[identifier].draft is None:
            raise Refused(404, "Not found.")
        item = self.own(identifier, user, draft=True)
        assert item.draft is not None
        item.draft["pids"].pop("doi", None)
        return self._shown(200, item, item.draft)

    # --- files

    def list_files(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        return self._files(200, self.own(identifier, user, draft=True))

    def record_files(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        item = self._readable(identifier, user)
        if not self._files_seen(item, user):
            raise Refused(403, "Permission denied.")
        return self._files(200, item)

    def announce(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        item, told = self.own(identifier, user, draft=True), json_of(request)
        if not isinstance(told, list):
            raise Refused(400, "A validation error occurred.")
        if len(item.files) + len(told) > self.max_files:
            raise Refused(400, "Uploading selected files will result in exceeding the max amount per record.")
        for number, entry in enumerate(told):
            if "key" not in entry:
                wrong = [{"field": f"{number}.key", "messages": ["Missing data for required field."]}]
                wrong += [{"field": f"{number}.{name}", "messages": ["Unknown field."]} for name in entry]
                raise Refused(400, "A validation error occurred.", wrong)
            if entry["key"] in item.files:
                raise Refused(400, f"File with key {entry['key']} already exists.")
            made = Entry(entry["key"], entry.get("size"), declared=entry.get("checksum"))
            transfer = entry.get("transfer") or {"type": "L"}
            made.transfer, made.metadata = transfer["type"], entry.get("metadata") or {}
            if made.transfer not in ("L", "M", "F", "R"):
                wrong = [{"field": f"{number}.transfer.type", "messages": [f"Unsupported value: {made.transfer}"]}]
                raise Refused(400, "A validation error occurred.", wrong)
            if made.transfer in ("F", "R"):
                self._elsewhere(made, transfer, number, user)
            if made.transfer == "M":
                made.plan = self._plan(made, transfer, number)
            item.files[made.key] = made
        return self._files(201, item)

    def _elsewhere(self, made: Entry, transfer: dict[str, Any], number: int, user: str | None) -> None:
        """F is pulled, R stays a link; both are for superusers, and from hosts that are allowed (1.5)."""
        if user != "admin":
            raise Refused(403, "Permission denied.")
        host = httpx.URL(transfer["url"]).netloc.decode()
        if host not in self.allowed_hosts:
            wrong = [{"field": f"{number}.transfer.url", "messages": ["Domain not allowed"]}]
            raise Refused(400, "A validation error occurred.", wrong)
        if made.transfer == "F" and self.slow:
            made.source = host
        else:
            self._pull(made, host)

    def _plan(self, made: Entry, transfer: dict[str, Any], number: int) -> tuple[int, int]:
        if "parts" not in transfer:
            missing = {"field": f"{number}.transfer.parts", "messages": ["Missing data for required field."]}
            raise Refused(400, "A validation error occurred.", [missing])
        if made.size is None:
            raise Refused(400, "Multipart file transfer requires file size.")
        if "part_size" not in transfer:
            raise Refused(400, "Multipart file transfer to local storage requires part_size.")
        return transfer["parts"], transfer["part_size"]

    def one_file(self, request: httpx.Request, user: str | None, identifier: str, key: str) -> httpx.Response:
        item = self.own(identifier, user, draft=True)
        return answer(200, self._entry(item, self._file(item, key)))

    def delete_file(self, request: httpx.Request, user: str | None, identifier: str, key: str) -> httpx.Response:
        item = self.own(identifier, user, draft=True)
        if item.published is not None and self._file(item, key).committed:
            raise Refused(403, "Bucket is locked for modifications.")
        self._file(item, key)
        del item.files[key]
        return httpx.Response(204)

    def delete_files(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        item = self.own(identifier, user, draft=True)
        if item.published is not None:
            raise Refused(403, "Bucket is locked for modifications.")
        item.files.clear()
        return httpx.Response(204)

    def content(self, request: httpx.Request, user: str | None, identifier: str, key: str) -> httpx.Response:
        item = self.own(identifier, user, draft=True)
        if request.headers.get("Content-Type") != "application/octet-stream":
            raise Refused(415, "Invalid 'Content-Type' header. Expected one of: application/octet-stream")
        entry, data = self._file(item, key), request.content
        if len(data) > self.max_content:
            raise Refused(413, "The data value transmitted exceeds the capacity limit.")
        if len(key) > 255:
            raise Refused(400, "Filename is too long.")
        if entry.committed or entry.transfer == "M":
            del item.files[key]
            return answer(200, {**self._entry(item, entry), "errors": FAILED})
        if sum(len(other.content or b"") for other in item.files.values()) + len(data) > (
            self.quota if item.quota is None else item.quota
        ):
            raise Refused(400, "Bucket quota exceeded.")
        entry.content = data
        return answer(200, self._entry(item, entry))

    def part(self, request: httpx.Request, user: str | None, identifier: str, key: str, part: str) -> httpx.Response:
        item = self.own(identifier, user, draft=True)
        entry, number, data = self._file(item, key), int(part), request.content
        count, size = entry.plan
        expected = (entry.size or 0) - (count - 1) * size if number == count else size
        if number > count or len(data) != expected:
            return answer(200, {**self._entry(item, entry), "errors": FAILED})
        entry.parts[number] = data
        return answer(200, self._entry(item, entry))

    def commit(self, request: httpx.Request, user: str | None, identifier: str, key: str) -> httpx.Response:
        item = self.own(identifier, user, draft=True)
        entry = self._file(item, key)
        if entry.transfer == "M" and not entry.committed:
            count, size = entry.plan
            holes = [entry.parts.get(number, b"\0" * size) for number in range(1, count + 1)]
            entry.content = b"".join(holes)[: entry.size]
            entry.computing = self.slow and not entry.declared
        if entry.content is None:
            raise Refused(500, "The server encountered an internal error and was unable to complete your request.")
        entry.committed, entry.size = True, len(entry.content)
        return answer(200, self._entry(item, entry))

    def _file(self, item: Item, key: str) -> Entry:
        if key not in item.files:
            raise Refused(404, f"Record '{item.id}' has no file '{key}'.")
        return item.files[key]

    def _entry(self, item: Item, entry: Entry) -> dict[str, Any]:
        value: dict[str, Any] = {
            "key": entry.key,
            "size": entry.size,
            "status": "failed" if entry.error else "completed" if entry.committed else "pending",
            "checksum": entry.checksum(),
            "metadata": entry.metadata,
            "transfer": {
                "type": "L" if entry.committed and entry.transfer != "R" else entry.transfer,
                **({"error": entry.error} if entry.error else {}),
            },
        }
        if entry.transfer == "M" and not entry.committed:
            base = f"{self.url}/api/records/{item.id}/draft/files/{entry.key}/content"
            value["links"] = {"parts": [{"part": n, "url": f"{base}/{n}"} for n in range(1, entry.plan[0] + 1)]}
        return value

    def _files(self, status: int, item: Item) -> httpx.Response:
        entries = [self._entry(item, entry) for entry in item.files.values()]
        return answer(status, {"enabled": True, "entries": entries})

    # --- vocabularies, and the status of preservation

    def vocabulary(self, request: httpx.Request, user: str | None, name: str) -> httpx.Response:
        if name not in VOCABULARIES:
            raise Refused(404, "Not found.")
        entries = [{"id": entry} for entry in sorted(VOCABULARIES[name])]
        return answer(200, {"hits": {"hits": entries, "total": len(entries)}})

    def language(self, request: httpx.Request, user: str | None, code: str) -> httpx.Response:
        if code not in LANGUAGES:
            raise Refused(404, "The persistent identifier does not exist.")
        return answer(200, {"id": code})

    def preserved(self, request: httpx.Request, user: str | None) -> httpx.Response:
        if user is None:
            raise Refused(401, "The server could not verify that you are authorized to access the URL requested.")
        if user != "archiver":
            raise Refused(403, "You don't have the permission to access the requested resource.")
        told = json_of(request)
        if not isinstance(told, dict):
            raise Refused(400, "{'_schema': ['Invalid input type.']}")
        known = {"pid", "status", "revision_id", "harvest_timestamp", "archive_timestamp", "uri", "path", "description"}
        if told.keys() - known:
            raise Refused(400, str({name: ["Unknown field."] for name in told.keys() - known}))
        if told.get("status") not in {"P", "I", "F", "D"}:
            raise Refused(400, "{'status': ['Must be one of: P, I, F, D.']}")
        if told["pid"] not in self.items:
            raise Refused(404, "")
        if any(len(told.get(name) or "") > 255 for name in ("uri", "path")):
            raise Refused(500, "The server encountered an internal error.")
        identity = ("pid", "revision_id", "archive_timestamp")
        for row in self.preservations:
            if "archive_timestamp" in told and all(row.get(name) == told.get(name) for name in identity):
                if row == told:
                    raise Refused(409, "The same preservation info has already been received for the given PID")
                row.clear()
                row.update(told)
                return answer(202, {"message": "Accepted.", "status": 202})
        self.preservations.append(told)
        return answer(202, {"message": "Accepted.", "status": 202})

    def told(self, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
        if user != "archiver":
            raise Refused(403, "User does not have permission for the requested action: read.")
        if identifier not in self.items:
            raise Refused(404, "")
        rows = [row for row in self.preservations if row["pid"] == identifier]
        return answer(200, {"hits": {"hits": rows[::-1], "total": len(rows)}})


_MISSING = "Missing uploaded files. To disable files for this record please mark it as metadata-only."


_RECORD = r"/api/records/([^/]+)"
_FILE = rf"{_RECORD}/draft/files/([^/]+)"
_ROUTES: list[tuple[str, str, Any]] = [
    ("POST", "/api/records", Fake.create),
    ("GET", "/api/user/records", Fake.find_own),
    ("GET", "/api/records", Fake.find),
    ("GET", _RECORD, Fake.get_record),
    ("GET", rf"{_RECORD}/draft", Fake.get_draft),
    ("PUT", rf"{_RECORD}/draft", Fake.put),
    ("POST", rf"{_RECORD}/draft", Fake.edit),
    ("DELETE", rf"{_RECORD}/draft", Fake.discard),
    ("POST", rf"{_RECORD}/draft/actions/publish", Fake.publish),
    ("POST", rf"{_RECORD}/versions", Fake.versions),
    ("DELETE", _RECORD, Fake.delete_own),
    ("DELETE", rf"{_RECORD}/delete", Fake.delete_record),
    ("GET", rf"{_RECORD}/draft/files", Fake.list_files),
    ("GET", rf"{_RECORD}/files", Fake.record_files),
    ("POST", rf"{_RECORD}/draft/files", Fake.announce),
    ("GET", _FILE, Fake.one_file),
    ("DELETE", _FILE, Fake.delete_file),
    ("DELETE", rf"{_RECORD}/draft/files", Fake.delete_files),
    ("PUT", rf"{_FILE}/content", Fake.content),
    ("PUT", rf"{_FILE}/content/(\d+)", Fake.part),
    ("POST", rf"{_FILE}/commit", Fake.commit),
    ("GET", "/api/vocabularies/languages/([^/]+)", Fake.language),
    ("GET", "/api/vocabularies/([^/]+)", Fake.vocabulary),
    ("POST", rf"{_RECORD}/draft/pids/doi", Fake.reserve),
    ("DELETE", rf"{_RECORD}/draft/pids/doi", Fake.free),
    ("POST", "/api/communities", reviewing.make),
    ("GET", "/api/communities/([^/]+)", reviewing.one),
    ("PUT", rf"{_RECORD}/draft/review", reviewing.review),
    ("GET", rf"{_RECORD}/draft/review", reviewing.review_of),
    ("POST", rf"{_RECORD}/draft/actions/submit-review", reviewing.submit),
    ("GET", "/api/requests/([^/]+)", reviewing.request_of),
    ("POST", "/api/requests/([^/]+)/actions/(accept|decline|cancel)", reviewing.act),
    ("POST", rf"{_RECORD}/communities", reviewing.include),
    ("GET", rf"{_RECORD}/preservations", Fake.told),
    ("POST", "/api/hooks/receivers/preservation/events/", Fake.preserved),
]
