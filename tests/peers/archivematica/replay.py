"""Recorded exchanges, and the fake asked with a clock as the recording client asked."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

from perdura.storage.memory import MemoryStore

from .clock import SteppedClock
from .driver import zipped_bag
from .jobs import RECORDINGS
from .pipeline import EICAR, Pipeline
from .server import KEY, FakeArchivematica

BAG = {"a.txt": b"a", "b.txt": b"b"}


def unpacked_bag(files: dict[str, bytes]) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(zipped_bag(files))) as archive:
        return {name.removeprefix("bag/"): archive.read(name) for name in archive.namelist()}


def contents(path: str) -> dict[str, bytes]:
    """What lay at a recorded path, by its name."""
    name = path.rstrip("/").rpartition("/")[2]
    if name in {"no-such", "nothing", "wrong.zip"}:
        return {}
    if name == "empty":
        return {"": b""}
    if name in {"broken-bag.zip", "corrupt"}:
        broken = unpacked_bag(BAG) | {"data/a.txt": b"changed"}
        return broken if name == "corrupt" else {"": zipped(broken)}
    if name == "not-a-zip.zip":
        return {"": b"this is no zip"}
    if name.endswith(".zip"):
        return {"": zipped_bag(BAG)}
    if name == "virus":
        return {"objects/eicar.com": EICAR}
    if name == "std10":
        return {"objects/a.txt": b"a", "objects/b.txt": b"b"}
    return unpacked_bag(BAG)


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, body in members.items():
            archive.writestr(path, body)
    return out.getvalue()


@dataclass
class Recorded:
    """The exchanges of one recording."""

    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, name: str) -> Recorded:
        return cls([json.loads(line) for line in (RECORDINGS / f"{name}.jsonl").read_text().splitlines()])

    def transfer(self, name: str, tag: str) -> tuple[dict[str, Any], str]:
        """The request that began a transfer, and the id it got."""
        for row in self.rows:
            if row["method"] == "POST" and row["tag"] == tag and row["url"].endswith("/api/v2beta/package/"):
                body = row["request"]["json"]
                if body.get("name") == name:
                    return body, json.loads(row["body"])["id"]
        raise AssertionError(f"{tag}: no transfer {name}")

    def said(self, unit: str) -> list[tuple[int, str | None]]:
        """What status calls of a unit said, without repetitions."""
        said: list[tuple[int, str | None]] = []
        for row in self.rows:
            if f"/status/{unit}" in row["url"]:
                found = json.loads(row["body"])
                entry = (row["status"], found.get("status"))
                if not said or said[-1] != entry:
                    said.append(entry)
        return said

    def sip(self, unit: str) -> str | None:
        for row in self.rows:
            if f"/transfer/status/{unit}" in row["url"] and "sip_uuid" in row["body"]:
                return str(json.loads(row["body"])["sip_uuid"])
        return None


class Replay:
    """The fake with a clock, asked as the recording client asked."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.store = MemoryStore()
        self.pipeline = Pipeline(self.store, self.clock)
        self.pipeline.configurations = ["automated", "default", "s3store", "s3targz", "withdip"]
        self.fake = FakeArchivematica(self.pipeline)

    def ask(self, method: str, url: str, document: object = None) -> tuple[int, dict[str, str], bytes]:
        host = "storage-service" if "storage-service" in url.split("/api/")[0] else "dashboard"
        body = json.dumps(document).encode() if document is not None else b""
        path = "/api/" + url.split("/api/", 1)[1]
        return self.fake.answer(method, host, path, {"authorization": KEY, "accept": "*/*"}, body)

    def begin(self, recorded: dict[str, Any]) -> str:
        place = base64.b64decode(recorded["path"]).decode()
        path = place.partition(":")[2].removeprefix("/var/archivematica/transfers/").lstrip("/")
        for name, body in contents(path).items():
            self.store.put("sips", f"in/{path.rstrip('/')}{'/' if name else ''}{name}", body)
        here = base64.b64encode(f"{self.pipeline.location}:{path}".encode()).decode()
        status, _, body = self.ask("POST", "http://dashboard/api/v2beta/package/", {**recorded, "path": here})
        assert status == 202
        return str(json.loads(body)["id"])

    def said(self, unit: str) -> list[tuple[int, str | None]]:
        """What the status of a transfer or of a SIP says now."""
        stage = self.pipeline.units[unit].stage
        status, _, body = self.ask("GET", f"http://dashboard/api/{stage}/status/{unit}/")
        return [(status, json.loads(body).get("status"))]

    def sip(self, unit: str) -> str | None:
        """The SIP that a transfer became."""
        return self.pipeline.units[unit].sip

    def listen(self, unit: str, seconds: float) -> tuple[list[tuple[int, str | None]], list[tuple[int, str | None]]]:
        """What the statuses of a transfer and of its SIP say while time passes."""
        transfer: list[tuple[int, str | None]] = []
        ingest: list[tuple[int, str | None]] = []
        sip = None
        for _ in range(int(seconds / 0.25)):
            status, _, body = self.ask("GET", f"http://dashboard/api/transfer/status/{unit}/")
            found = json.loads(body)
            _said(transfer, status, found)
            sip = found.get("sip_uuid", sip)
            if sip:
                status, _, body = self.ask("GET", f"http://dashboard/api/ingest/status/{sip}/")
                _said(ingest, status, json.loads(body))
            self.clock.step(0.25)
        return transfer, ingest


def _said(said: list[tuple[int, str | None]], status: int, found: dict[str, Any]) -> None:
    entry = (status, found.get("status"))
    if not said or said[-1] != entry:
        said.append(entry)
