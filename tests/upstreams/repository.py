"""A repository of many records with search and OAI-PMH, as InvenioRDM answers; records can be changed and deleted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.upstreams.invenio import content_path, entry, record
from tests.upstreams.server import Reply

WINDOW = 10_000
JSON = {"Content-Type": "application/json"}
OAI_PAGE = 50


@dataclass
class Kept:
    """One record: its files, its revision, when it last changed."""

    recid: str
    updated: datetime
    files: dict[str, bytes]
    revision: int = 1
    deleted: bool = False


@dataclass
class Repository:
    """Answers by path; give `answer` to an `Upstream` as its fallback."""

    base: str = ""
    records: dict[str, Kept] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    largest_page: int = 1000

    def fill(self, number: int, begin: datetime, *, step: timedelta = timedelta(seconds=1), files: int = 1) -> None:
        """Add records r00000, r00001 … that changed one after the other."""
        for index in range(number):
            recid = f"r{index:05d}"
            content = {f"{n}.txt": f"{recid} {n}".encode() for n in range(files)}
            self.records[recid] = Kept(recid, begin + index * step, content)

    def change(self, recid: str, at: datetime, files: dict[str, bytes] | None = None) -> None:
        """Change a record, with other files if they are given."""
        kept = self.records[recid]
        kept.updated, kept.revision, kept.files = at, kept.revision + 1, files or kept.files

    def answer(self, path: str) -> Reply | None:
        """The answer to a request."""
        parts = urlsplit(path)
        arguments = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(path)
        if parts.path == "/api/records":
            return self._search(arguments)
        if parts.path == "/oai2d":
            return self._oai(arguments)
        match = re.fullmatch(r"/api/records/([^/]+)(/files)?(?:/([^/]+)/content)?", parts.path)
        kept = self.records.get(match[1]) if match else None
        if match is None or kept is None or kept.deleted:
            return None
        if match[3]:
            return Reply(kept.files[match[3]], headers={"Content-Type": "application/octet-stream"})
        return _json(self._files(kept) if match[2] else self._record(kept))

    def _record(self, kept: Kept) -> dict[str, Any]:
        value = record(kept.recid, self.base, revision=kept.revision)
        value["updated"] = value["created"] = kept.updated.isoformat()
        return value

    def _files(self, kept: Kept) -> dict[str, Any]:
        entries = [
            entry(key, data, self.base + content_path(kept.recid, key)) for key, data in sorted(kept.files.items())
        ]
        return {"enabled": True, "entries": entries}

    def _search(self, arguments: dict[str, str]) -> Reply:
        query, size, page = arguments["q"], int(arguments["size"]), int(arguments["page"])
        if size * page > WINDOW:
            return _json({"message": "Maximum number of 10000 results have been reached."}, 400)
        if size > self.largest_page:
            return _json({"errors": [{"field": "size", "messages": ["Page size cannot be greater."]}]}, 400)
        if "!" in query:
            return _json({"message": "Invalid query string syntax."}, 400)
        kept = [each for each in self.records.values() if not each.deleted and _matches(query, each)]
        kept.sort(key=lambda each: (each.updated, each.recid))
        shown = kept[size * (page - 1) : size * page]
        return _json({"hits": {"total": len(kept), "hits": [self._record(each) for each in shown]}})

    def _oai(self, arguments: dict[str, str]) -> Reply:
        if token := arguments.get("resumptionToken"):
            begin, since, until = token.split(",")
        else:
            begin, since, until = "0", arguments.get("from", ""), arguments.get("until", "")
        kept = sorted(
            (each for each in self.records.values() if (since or "0") <= _stamp(each) <= (until or "9")), key=_stamp
        )
        first = int(begin)
        shown = kept[first : first + OAI_PAGE]
        if not shown:
            return Reply(_oai_error("noRecordsMatch"), 422, {"Content-Type": "text/xml"})
        headers = "".join(_header(each) for each in shown)
        more = f"{first + OAI_PAGE},{since},{until}" if first + OAI_PAGE < len(kept) else ""
        token = f'<resumptionToken completeListSize="{len(kept)}">{more}</resumptionToken>'
        return Reply(
            _oai_body(f"<ListIdentifiers>{headers}{token}</ListIdentifiers>"), headers={"Content-Type": "text/xml"}
        )


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(value).encode(), status, dict(JSON))


def _stamp(kept: Kept) -> str:
    return kept.updated.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _header(kept: Kept) -> str:
    status = ' status="deleted"' if kept.deleted else ""
    identifier = f"<identifier>oai:demo:{kept.recid}</identifier>"
    return f"<header{status}>{identifier}<datestamp>{_stamp(kept)}</datestamp></header>"


def _oai_body(inner: str) -> bytes:
    return f'<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">{inner}</OAI-PMH>'.encode()


def _oai_error(code: str) -> bytes:
    return _oai_body(f'<error code="{code}">nothing</error>')


_TIME = re.compile(r"(?:updated|created):\[(\S+) TO (\S+)\}")
_IDS = re.compile(r"id:\[(\S+) TO (\S+)\}")


def _matches(query: str, kept: Kept) -> bool:
    low, high = _TIME.search(query).groups()  # type: ignore[union-attr]
    when = kept.updated.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    inside = (low == "*" or low <= when) and when < high
    if ids := _IDS.search(query):
        low, high = (text.strip('"') for text in ids.groups())
        inside = inside and (low == "*" or low <= kept.recid) and (high == "*" or kept.recid < high)
    return inside
