"""Every exchange of the recordings has its like in the fake: none is left out.

Two exchanges are alike when the request has the same method, address and parameters and the answer the same code,
content type, members and messages, and of a unit the same status; ids and numbers stand for any others.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from tests.peers.archivematica.jobs import RECORDINGS
from tests.peers.archivematica.pipeline import Plan
from tests.peers.archivematica.places import DISK
from tests.peers.archivematica.replay import Recorded, Replay
from tests.peers.archivematica.server import KEY

TRANSCRIPTS = sorted(path.stem for path in RECORDINGS.glob("*.jsonl") if path.stem != "callbacks")
NOBODY = "11111111-1111-4111-8111-111111111111"
WISH = {"event_reason": "x", "pipeline": "p", "user_id": 1, "user_email": "a@example.org"}
STORED = next(row for row in Recorded.of("storage-service").rows if row["tag"] == "store" and row["method"] == "POST")


def neutral(text: str) -> str:
    """A text or an address without ids, digests, names of files and numbers."""
    text = re.sub(r"[0-9a-f]{64}", "D", re.sub(r"data/objects/\S+", "P", text))
    return re.sub(r"\d+", "N", re.sub(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "U", text))


def shape(value: Any, name: str = "") -> Any:
    """The members of a document and its messages; of a list, of what in it has most to tell, which may be nothing."""
    if name == "properties":
        return frozenset(shape(each) for each in value.values())
    if isinstance(value, dict):
        return tuple((key, shape(value[key], key)) for key in sorted(value))
    if isinstance(value, list):
        return (
            () if name in {"events", "agents"} else max((shape(each, "item") for each in value), key=repr, default=None)
        )
    if name in {"message", "error"}:
        return neutral(str(value))
    return neutral(str(value).partition(":")[0]) if name == "error_message" else None


def said(body: str) -> Any:
    """What a body says; None of one that is binary, or was shortened."""
    if body.startswith(("<", "PK", "BagIt", "Bag-")) or "cut]" in body:
        return None
    if body[:1] not in {"{", "["}:
        return neutral(body)
    document = json.loads(body)
    status = document.get("status") if isinstance(document, dict) and "microservice" in document else None
    return status, shape(document)


def alike(
    method: str, target: str, params: Collection[str], status: int, headers: Mapping[str, str], body: str
) -> tuple[Any, ...]:
    """What an exchange has in common with all that are alike."""
    path, _, query = target.rpartition("/api/")[2].partition("?")
    names = tuple(sorted({*params, *parse_qs(query, keep_blank_values=True)}))
    return method, neutral(path), names, status, headers.get("Content-Type"), said(body)


class Asker:
    """Asks the fake for one thing after another, and keeps what each exchange was like."""

    def __init__(self) -> None:
        self.replay = Replay()
        self.pipeline, self.service = self.replay.pipeline, self.replay.fake.service
        self.found: set[tuple[Any, ...]] = set()

    def ask(self, method: str, path: str, body: object = b"", *, key: str = KEY, accept: str = "*/*") -> Any:
        """The answer, parsed when it is JSON."""
        host = "storage-service" if path.startswith("/api/v2/") else "dashboard"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": key, "accept": accept}
        status, told, answer = self.replay.fake.answer(method, host, path, headers, data)
        plain = answer.decode("utf-8", "replace") if told.get("Content-Type") else f"<{len(answer)} bytes>"
        self.found.add(alike(method, path, (), status, told, plain))
        return json.loads(answer) if told.get("Content-Type") == "application/json" else answer

    def run(self, recording: str, tag: str, name: str, *, approve: bool = True, plan: Plan | None = None) -> str:
        """A transfer as it was recorded, followed to its end and shown in every way; gives the id of its SIP."""
        request, _ = Recorded.of(recording).transfer(name, tag)
        if plan is not None:
            self.pipeline.plans[name] = plan
        unit = self.replay.begin({**request, "auto_approve": approve})
        if not approve:
            unit = self._approve(unit)
        sip = ""
        for _ in range(80):
            sip = self.ask("GET", f"/api/transfer/status/{unit}/").get("sip_uuid", sip)
            if sip:
                self.ask("GET", f"/api/ingest/status/{sip}/")
            self.replay.clock.step(0.25)
        jobs = self.ask("GET", f"/api/v2beta/jobs/{sip or unit}/")
        for job in jobs if isinstance(jobs, list) else []:
            self.ask("GET", f"/api/v2beta/jobs/{sip or unit}/?{urlencode({'name': job['name'], 'detailed': ''})}")
            for task in job["tasks"]:
                self.ask("GET", f"/api/v2beta/task/{task['uuid']}")
        self.ask("GET", "/api/ingest/waiting")
        return sip or unit

    def _approve(self, unit: str) -> str:
        """Approve what waits, which is another unit where a directory was sent."""
        self.replay.clock.step(1)
        (waiting,) = self.ask("GET", "/api/transfer/unapproved")["results"]
        for each in {unit, waiting["uuid"]}:
            self.ask("GET", f"/api/transfer/status/{each}/")
        self.ask("GET", "/api/ingest/waiting")
        told = {"type": waiting["type"], "directory": waiting["directory"]}
        assert self.ask("POST", "/api/transfer/approve/", urlencode(told).encode())["uuid"] == waiting["uuid"]
        return str(waiting["uuid"])


def units(asker: Asker) -> tuple[str, str]:
    """Transfers with every end that one has; gives a compressed AIP and one that is a directory, with its DIP."""
    asker.ask("GET", "/api/transfer/unapproved")
    compressed = asker.run("s3-runs", "s3-zip", "ignored name")
    asker.run("outcomes", "corrupt-zipped-bag", "x")
    virus = asker.run("outcomes", "virus", "infected")
    asker.run("decisions", "user-input", "decide-me")
    asker.run("decisions", "approve-directory", "approve-me", approve=False)
    asker.run("decisions", "approve-zip", "n", approve=False)
    asker.run("decisions", "passes-user-input", "passes", plan=Plan(transfer="rejected"))
    asker.run("filters-and-queue", "three-at-once", "three-1", plan=Plan(ingest="failed"))
    asker.pipeline.with_dip = True
    directory = asker.run("callbacks-dip-hide", "with-dip", "with-dip-0192f3c3", plan=Plan(store="unpacked"))
    asker.ask("GET", f"/api/transfer/status/{NOBODY}/")
    asker.ask("GET", f"/api/ingest/status/{NOBODY}/")
    asker.ask("GET", f"/api/v2beta/jobs/{NOBODY}/")
    for stage in ("transfer", "ingest"):
        asker.ask("GET", f"/api/{stage}/completed")
        asker.ask("DELETE", f"/api/{stage}/{NOBODY}/delete/")
    asker.ask("DELETE", f"/api/transfer/{virus}/delete/")
    asker.ask("DELETE", f"/api/ingest/{compressed}/delete/")
    return compressed, directory


def refusals(asker: Asker) -> None:
    """Requests to a dashboard that are wrong, and its configurations."""
    package = {"name": "x", "type": "zipped bag", "path": "L3g=", "processing_config": "automated"}
    asker.ask("POST", "/api/v2beta/package/", package)
    asker.ask("POST", "/api/v2beta/package/", {"name": "x"})
    asker.ask("POST", "/api/v2beta/package/", {**package, "type": "nonsense"})
    asker.ask("GET", "/api/v2beta/package/")
    for told in ("type=nonsense&directory=x", "directory=nothing-of-that-name", "type=standard"):
        asker.ask("POST", "/api/transfer/approve/", told.encode())
    asker.ask("GET", "/api/processing-configuration/")
    asker.ask("POST", "/api/processing-configuration/", b"x")
    for name in ("s3store", "nosuch"):
        asker.ask("GET", f"/api/processing-configuration/{name}")
    asker.ask("GET", "/api/processing-configuration/s3store", accept="application/json")


def places(asker: Asker) -> tuple[str, str]:
    """Spaces and locations, shown and made; gives the location on the disk and another one on it, for AIPs."""
    service, pipeline = asker.service.places, asker.pipeline
    for path in ("pipeline/", f"pipeline/{pipeline.pipeline}/", "space/", "space/?access_protocol=FS"):
        asker.ask("GET", f"/api/v2/{path}")
    (disk,) = asker.ask("GET", "/api/v2/space/?access_protocol=FS")["objects"]
    made = []
    for row in Recorded.of("setup").rows + Recorded.of("storage-service").rows:
        if row["method"] == "POST" and row["url"].endswith("/space/"):
            made.append(asker.ask("POST", "/api/v2/space/", row["request"]["json"]))
        if row["method"] == "POST" and row["url"].endswith("/location/"):
            asker.ask("POST", "/api/v2/location/", {**row["request"]["json"], "space": disk["resource_uri"]})
    assert [each.get("bucket") for each in made] == ["aips", None]
    asker.ask("GET", made[0]["resource_uri"])
    for purpose in ("TS", "AS"):
        asker.ask("GET", f"/api/v2/location/?purpose={purpose}")
    asker.ask("GET", f"/api/v2/location/{service.store}/")
    asker.ask("GET", "/api/v2/location/default/RP/")
    pipeline.store.put(DISK, "var/archivematica/transfers/bag/bagit.txt", b"")
    pipeline.store.put(DISK, "var/archivematica/transfers/bag.zip", b"")
    pipeline.store.put("sips", "in/0192f3c9/bagit.txt", b"")
    pipeline.store.put("sips", "in/0192f3c9/data/a.txt", b"")
    for location in (pipeline.location, service.disk):
        asker.ask("GET", f"/api/v2/location/{location}/browse/")
        for folder in (b"0192f3c9", b"nothing-here", b"../.."):
            coded = urlencode({"path": base64.b64encode(folder)})
            asker.ask("GET", f"/api/v2/location/{location}/browse/?{coded}")
    locations = asker.ask("GET", "/api/v2/location/?purpose=AS")["objects"]
    return service.disk, next(row["uuid"] for row in locations if row["description"] == "second AIP store")


def records(asker: Asker, compressed: str, directory: str) -> None:
    """Records of packages, lists of them, and their bytes."""
    for aip in (compressed, directory, NOBODY):
        asker.ask("GET", f"/api/v2/file/{aip}/")
    since = {"package_type": "AIP", "status": "UPLOADED", "stored_date__gte": "2026-11-21T22:00:00", "limit": 2}
    (dip,) = asker.ask("GET", f"/api/v2/file/?package_type=DIP&related_packages__uuid={directory}")["objects"]
    for params in (
        {"package_type": "AIP", "limit": 2},
        since,
        {**since, "current_location__uuid": asker.pipeline.location},
        {"uuid__in": directory},
        {"package_type": "AIP", "limit": 1, "offset": 2, "order_by": "-stored_date"},
        {"current_path__contains": "x"},
        {"status": "UPLOADED", "stored_date__gte": "nonsense"},
    ):
        asker.ask("GET", f"/api/v2/file/?{urlencode(params)}")
    asker.ask("GET", "/api/v2/file/", key="ApiKey perdura:wrong")
    for aip, path in ((compressed, "data/nope.txt"), (directory, "data/bag-info.txt"), (directory, "bagit.txt")):
        named = urlencode({"relative_path_to_file": f"{asker.pipeline.stored[aip].made.name}/{path}"})
        asker.ask("GET", f"/api/v2/file/{aip}/extract_file/?{named}")
    asker.ask("GET", f"/api/v2/file/{compressed}/extract_file/")
    for package in (compressed, dip["uuid"]):
        asker.ask("GET", f"/api/v2/file/{package}/pointer_file/")
        asker.ask("GET", f"/api/v2/file/{package}/check_fixity/")
        for method in ("GET", "HEAD"):
            asker.ask(method, f"/api/v2/file/{package}/download/")
    asker.ask("GET", f"/api/v2/file/{NOBODY}/check_fixity/")
    asker.replay.fake.gone.add("DIP")
    asker.ask("GET", f"/api/v2/file/{dip['uuid']}/download/")


def fixity(asker: Asker, directory: str) -> None:
    """What is said of an AIP that is a directory, whole and with each kind of fault."""
    record = asker.pipeline.stored[directory]
    whole = dict(record.made.members)
    path = next(each for each in whole if each.startswith("data/objects/"))
    moved = {("data/objects/away" if each == path else each): body for each, body in whole.items()}
    flipped = bytes([whole[path][0] ^ 1]) + whole[path][1:]
    asker.ask("GET", f"/api/v2/file/{directory}/check_fixity/?force_local=true")
    for members in ({**whole, path: flipped}, {**whole, path: whole[path] + b"!"}, moved, whole):
        record.made = replace(record.made, members=members)
        asker.ask("GET", f"/api/v2/file/{directory}/check_fixity/")


def storing(asker: Asker, disk: str, second: str) -> None:
    """Packages that are given to be stored: well, later, twice, without a source, and without how they were packed."""
    given = {
        **STORED["request"]["json"],
        "origin_location": f"/api/v2/location/{disk}/",
        "current_location": f"/api/v2/location/{second}/",
    }
    place = f"var/archivematica/transfers/{given['origin_path']}"
    asker.pipeline.store.put(DISK, place, b"7z" * 5000)
    identity = given["uuid"]
    made = asker.ask("POST", "/api/v2/file/", given)
    assert (made["status"], made["size"], made["events"]) == ("UPLOADED", 10000, given["events"])
    key = made["current_full_path"].lstrip("/")
    assert asker.pipeline.store.head(DISK, key).size == 10000
    assert asker.ask("POST", "/api/v2/file/", given)["error_message"].startswith("UNIQUE constraint failed")
    asker.ask("POST", "/api/v2/file/async/", {**given, "uuid": f"1{identity[1:]}"})
    asker.ask("GET", "/api/v2/async/1/")
    asker.replay.clock.step(6)
    assert asker.ask("GET", "/api/v2/async/1/")["result"]["status"] == "UPLOADED"
    asker.ask("POST", "/api/v2/file/", {**given, "uuid": f"2{identity[1:]}", "events": []})
    asker.ask("GET", f"/api/v2/file/2{identity[1:]}/pointer_file/")
    assert asker.ask("GET", f"/api/v2/file/2{identity[1:]}/")["status"] == "UPLOADED"
    asker.ask("POST", "/api/v2/file/", {**given, "uuid": f"3{identity[1:]}", "origin_path": "no-such"})
    assert asker.ask("GET", f"/api/v2/file/3{identity[1:]}/")["status"] == "PENDING"
    asker.ask("GET", "/api/v2/async/999999/")


def moving(asker: Asker, aip: str) -> None:
    """A package is moved, then wished away and back."""
    places, record = asker.service.places, f"/api/v2/file/{aip}"
    for location in (places.elsewhere, places.elsewhere, "", places.disk, places.store):
        asker.ask("POST", f"{record}/move/", urlencode({"location_uuid": location}).encode())
        asker.replay.clock.step(6)
    for wish in ({}, WISH, WISH):
        asker.ask("POST", f"{record}/delete_aip/", wish)
    asker.ask("POST", f"{record}/move/", urlencode({"location_uuid": places.elsewhere}).encode())
    asker.ask("POST", f"{record}/recover_aip/", WISH)
    asker.ask("POST", f"{record}/review_aip_deletion/", {"event_id": 1, "decision": "approve", "reason": "x"})


@pytest.fixture(scope="module")
def found() -> set[tuple[Any, ...]]:
    asker = Asker()
    disk, second = places(asker)
    compressed, directory = units(asker)
    refusals(asker)
    records(asker, compressed, directory)
    fixity(asker, directory)
    storing(asker, disk, second)
    moving(asker, compressed)
    made = asker.pipeline.stored[compressed]
    made.made = replace(made.made, data=b"no tar")
    asker.ask("GET", f"/api/v2/file/{compressed}/check_fixity/")
    return asker.found


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_every_recorded_exchange_has_its_like(transcript: str, found: set[tuple[Any, ...]]) -> None:
    missing = {}
    for row in Recorded.of(transcript).rows:
        params = row["request"].get("params") or {}
        wanted = alike(row["method"], row["url"], params, row["status"], row["headers"], row["body"])
        if wanted not in found and (wanted[-1] is not None or wanted[:-1] not in {each[:-1] for each in found}):
            missing[wanted] = row["tag"]
    assert missing == {}
