"""The fake answers as the recorded Archivematica 1.17.0 with Storage Service 0.23 did: same status, same shape.

Each recorded transfer is asked for again in the same circumstances. What its status calls said in their order has to
be said by the fake too, with the same end; every other recorded answer has to have the same code, content type,
headers of Archivematica and members.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from perdura.storage.memory import MemoryStore
from tests.peers.archivematica.clock import SteppedClock
from tests.peers.archivematica.driver import zipped_bag
from tests.peers.archivematica.jobs import RECORDINGS
from tests.peers.archivematica.pipeline import EICAR, Pipeline
from tests.peers.archivematica.server import KEY, FakeArchivematica

BAG = {"a.txt": b"a", "b.txt": b"b"}
FILES: dict[str, dict[str, bytes]] = {}


def unpacked_bag(files: dict[str, bytes]) -> dict[str, bytes]:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(zipped_bag(files))) as archive:
        return {name.removeprefix("bag/"): archive.read(name) for name in archive.namelist()}


def contents(path: str) -> dict[str, bytes]:
    """What lay at a recorded path, by its name."""
    name = path.rstrip("/").rpartition("/")[2]
    if name in {"no-such", "nothing", "wrong.zip"}:
        return {}
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
    import io
    import zipfile

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


def _is_within(shorter: list[Any], longer: list[Any]) -> bool:
    rest: Iterator[Any] = iter(longer)
    return all(each in rest for each in shorter)


@pytest.mark.parametrize(
    ("recording", "tag", "name"),
    [
        ("s3-runs", "s3-zip", "ignored name"),
        ("s3-runs", "s3-prefix", "rec-0192f3c1"),
        ("api-transcript-am1.17-ss0.23", "happy-dip", "happy"),
        ("api-transcript-am1.17-ss0.23", "happy-zip", "zipname"),
        ("api-transcript-am1.17-ss0.23", "corrupt-bag", "corrupt"),
        ("api-transcript-am1.17-ss0.23", "virus", "virus"),
        ("api-transcript-am1.17-ss0.23", "nonexistent-path", "nosuch"),
        ("outcomes", "corrupt-zipped-bag", "x"),
        ("outcomes", "flat-zip", "x"),
        ("outcomes", "virus", "infected"),
        ("decisions", "user-input", "decide-me"),
        ("decisions", "passes-user-input", "passes"),
        ("restart-and-wedge", "after-restart", "after-restart"),
        ("restart-and-wedge", "wedge-zip-as-standard", "w"),
        ("targz-and-same-name-zip", "s3-targz", "x"),
        ("filters-and-queue", "three-at-once", "three-1"),
        ("callbacks-dip-hide", "with-dip", "with-dip-0192f3c3"),
    ],
)
def test_a_transfer_goes_through_the_statuses_that_were_recorded(recording: str, tag: str, name: str) -> None:
    recorded, replay = Recorded.of(recording), Replay()
    request, unit = recorded.transfer(name, tag)
    transfer, ingest = replay.listen(replay.begin(request), 30)
    said = recorded.said(unit)
    assert _is_within(said, transfer), (said, transfer)
    sip = recorded.sip(unit)
    if sip is not None and recorded.said(sip):
        said = recorded.said(sip)
        assert _is_within(said, ingest), (said, ingest)
        if said[-1][1] != "PROCESSING":
            assert said[-1] == ingest[-1]
    if said[-1][1] not in {"PROCESSING", None} and sip is None:
        assert said[-1] == transfer[-1]


def test_what_is_queued_when_the_server_restarts_is_never_heard_of_again() -> None:
    recorded, replay = Recorded.of("restart-and-wedge"), Replay()
    units = [replay.begin(recorded.transfer(f"restart-{number}", "server-restart")[0]) for number in range(3)]
    replay.clock.step(3)
    replay.ask("GET", f"http://dashboard/api/transfer/status/{units[0]}/")
    replay.pipeline.restart()
    replay.clock.step(60)
    states = [json.loads(replay.ask("GET", f"http://dashboard/api/transfer/status/{u}/")[2]) for u in units]
    assert states[0]["status"] == "COMPLETE"
    assert ["error" in each for each in states] == [False, True, True]


SHAPED = (
    ("api-transcript-am1.17-ss0.23", ("/transfer/status/", "/ingest/status/", "/api/v2/file/")),
    ("s3-runs", ("/transfer/status/", "/ingest/status/", "/jobs/", "/task/", "/api/v2/file/")),
)


@pytest.mark.parametrize(("recording", "paths"), SHAPED)
def test_answers_have_the_shape_that_was_recorded(recording: str, paths: tuple[str, ...]) -> None:
    """Every kind of (call, code) that was recorded of a good run, against the same call to the fake's good run."""
    replay = Replay()
    request, _ = Recorded.of("s3-runs").transfer("ignored name", "s3-zip")
    unit = replay.begin(request)
    replay.listen(unit, 30)
    sip = json.loads(replay.ask("GET", f"http://dashboard/api/transfer/status/{unit}/")[2])["sip_uuid"]
    task = json.loads(replay.ask("GET", f"http://dashboard/api/v2beta/jobs/{sip}/")[2])[0]["tasks"][0]["uuid"]
    ours = {
        ("/transfer/status/", 200): f"http://dashboard/api/transfer/status/{unit}/",
        ("/transfer/status/", 400): "http://dashboard/api/transfer/status/11111111-1111-4111-8111-111111111111/",
        ("/ingest/status/", 200): f"http://dashboard/api/ingest/status/{sip}/",
        ("/ingest/status/", 400): "http://dashboard/api/ingest/status/11111111-1111-4111-8111-111111111111/",
        ("/jobs/", 200): f"http://dashboard/api/v2beta/jobs/{sip}/",
        ("/task/", 200): f"http://dashboard/api/v2beta/task/{task}/",
        ("/api/v2/file/", 200): f"http://storage-service/api/v2/file/{sip}/",
        ("/api/v2/file/", 404): "http://storage-service/api/v2/file/11111111-1111-4111-8111-111111111111/",
    }
    compared = 0
    for row in Recorded.of(recording).rows:
        kind = next((each for each in paths if each in row["url"]), None)
        whole_record = row["url"].rstrip("/").rpartition("/")[2].count("-") == 4 or kind in {"/jobs/", "/task/"}
        if row["method"] != "GET" or kind is None or not whole_record or (kind, row["status"]) not in ours:
            continue
        if row["request"].get("params"):
            continue
        status, headers, body = replay.ask("GET", ours[kind, row["status"]])
        assert status == row["status"]
        assert headers["Content-Type"] == row["headers"]["Content-Type"]
        stamped = {"X-Archivematica-Version", "X-Archivematica-ID"}
        assert set(headers) & stamped == set(row["headers"]) & stamped
        if row["body"].startswith(("{", "[")) and "cut]" not in row["body"]:
            theirs, mine = json.loads(row["body"]), json.loads(body)
            if isinstance(theirs, list):
                theirs, mine = theirs[0], mine[0]
            if "sip_uuid" not in theirs:
                mine.pop("sip_uuid", None)
            if status == 400 and "type" not in theirs:
                # Known without jobs: so is a unit that was just begun.
                young = replay.begin({**request, "name": "young"})
                _, _, body = replay.ask("GET", f"http://dashboard/api/transfer/status/{young}/")
                mine = json.loads(body)
            assert set(mine) == set(theirs)
            compared += 1
    assert compared > 5


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"name": "x", "type": "zipped bag"}, 400, 'Parameter "path" cannot be decoded.'),
        ({"name": "x", "type": "nonsense", "path": "L3g="}, 500, "Package cannot be created"),
        ({"name": "", "type": "zipped bag", "path": "L3g="}, 500, "Package cannot be created"),
        ({"name": "x", "type": "zipped bag", "path": "!!!"}, 500, "Package cannot be created"),
        ({"name": "x", "type": "zipped bag", "path": "L3g=", "auto_approve": "yes"}, 500, "Package cannot be created"),
    ],
)
def test_impossible_requests_are_refused_as_the_real_one_does(body: dict[str, Any], status: int, message: str) -> None:
    got, headers, answer = Replay().ask("POST", "http://dashboard/api/v2beta/package/", body)
    assert (got, json.loads(answer)) == (status, {"error": True, "message": message})
    assert headers["X-Archivematica-Version"] == "1.17.0"


def test_wrong_keys_and_wrong_verbs_are_answered_in_the_real_order() -> None:
    fake = Replay().fake
    assert fake.answer("GET", "dashboard", "/api/ingest/waiting", {}, b"")[0] == 403
    status, headers, body = fake.answer("PUT", "dashboard", "/api/ingest/waiting", {}, b"")
    assert (status, headers["Allow"], body) == (405, "GET", b"")
    assert fake.answer("GET", "storage-service", "/api/v2/file/", {}, b"")[0] == 401
    assert fake.answer("GET", "dashboard", "/api/v2beta/package/", {"authorization": KEY}, b"")[0] == 501


class Stored:
    """A fake with one stored AIP, asked as the recordings ask the Storage Service."""

    def __init__(self) -> None:
        self.replay = Replay()
        request, _ = Recorded.of("s3-runs").transfer("ignored name", "s3-zip")
        self.replay.listen(self.replay.begin(request), 30)
        (self.aip,) = self.replay.pipeline.stored

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], Any]:
        host = "dashboard" if path.startswith("/api/transfer") else "storage-service"
        status, headers, said = self.replay.fake.answer(
            method, host, path, {"authorization": KEY, "accept": "*/*"}, body
        )
        return status, headers, json.loads(said) if said[:1] in (b"{", b"[") else said.decode()


def _kind(url: str) -> str:
    import re

    path = "/api/" + url.split("/api/", 1)[1].partition("?")[0]
    path = re.sub(r"/async/(?!999999)\d+/", "/async/N/", path)
    return re.sub(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "U", path)


def test_places_and_deletions_of_the_storage_service_are_answered_as_recorded() -> None:
    """Status, content type and members, or the very text of an error, of each kind of call in the recordings."""
    scene = Stored()
    service, aip = scene.replay.fake.service, f"/api/v2/file/{scene.aip}"
    wish = json.dumps({"event_reason": "x", "pipeline": "p", "user_id": 1, "user_email": "a@example.org"}).encode()
    asked = [
        ("GET", "/api/v2/location/?purpose=TS", b""),
        ("GET", f"/api/v2/location/{service.store}/", b""),
        ("GET", "/api/v2/location/default/RP/", b""),
        ("GET", "/api/v2/pipeline/", b""),
        ("GET", f"/api/v2/pipeline/{scene.replay.pipeline.pipeline}/", b""),
        ("GET", "/api/v2/space/", b""),
        ("GET", service._locations()[0]["space"], b""),
        ("GET", f"{aip}/check_fixity/", b""),
        ("GET", "/api/v2/file/11111111-1111-4111-8111-111111111111/check_fixity/", b""),
        ("POST", f"{aip}/move/", f"location_uuid={service.store}".encode()),
        ("POST", f"{aip}/move/", b""),
        ("POST", f"{aip}/move/", f"location_uuid={scene.replay.pipeline.location}".encode()),
        ("POST", f"{aip}/move/", f"location_uuid={service.elsewhere}".encode()),
        ("GET", "/api/v2/async/1/", b""),
        ("GET", "/api/v2/async/999999/", b""),
        ("POST", f"{aip}/delete_aip/", b"{}"),
        ("POST", f"{aip}/delete_aip/", wish),
        ("POST", f"{aip}/delete_aip/", wish),
        ("POST", f"{aip}/move/", f"location_uuid={service.elsewhere}".encode()),
        ("POST", f"{aip}/recover_aip/", wish),
        ("POST", "/api/transfer/approve/", b"type=nonsense&directory=x"),
        ("POST", "/api/transfer/approve/", b"directory=nothing-of-that-name"),
        ("POST", "/api/transfer/approve/", b"type=standard"),
    ]
    rows = [
        row
        for name in ("api-transcript-am1.17-ss0.23", "setup", "storage-service", "decisions")
        for row in Recorded.of(name).rows
    ]
    recorded: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in rows:
        recorded.setdefault((row["method"], _kind(row["url"]), row["status"]), []).append(row)
    for method, path, body in asked:
        status, headers, said = scene.ask(method, path, body)
        known = recorded.get((method, _kind(path), status))
        assert known, (method, path, status, said)
        assert headers["Content-Type"] in {row["headers"]["Content-Type"] for row in known}
        told = [json.loads(row["body"]) for row in known if row["body"].startswith("{") and "cut]" not in row["body"]]
        if isinstance(said, dict):
            assert set(said) in [set(each) for each in told]
            assert status < 400 or said in told
        else:
            assert _kind(f"/api/{said}") in {_kind(f"/api/{row['body']}") for row in known}


def test_moving_and_fixity_take_the_course_that_was_recorded() -> None:
    scene = Stored()
    aip, service = f"/api/v2/file/{scene.aip}", scene.replay.fake.service
    status, headers, _ = scene.ask("POST", f"{aip}/move/", f"location_uuid={service.elsewhere}".encode())
    assert (status, headers["Location"]) == (202, "/api/v2/async/1/")
    assert scene.ask("GET", f"{aip}/")[2]["status"] == "MOVING"
    assert scene.ask("GET", "/api/v2/async/1/")[2]["completed"] is False
    scene.replay.clock.step(6)
    assert scene.ask("GET", "/api/v2/async/1/")[2]["completed"] is True
    assert scene.ask("GET", f"{aip}/")[2]["status"] == "UPLOADED"
    assert scene.ask("GET", f"{aip}/check_fixity/")[2]["success"] is True
    record = scene.replay.pipeline.stored[scene.aip]
    path = next(each for each in record.made.members if each.startswith("data/objects/"))
    changed = {**record.made.members, path: record.made.members[path] + b"!"}
    record.made = replace(record.made, data=b"", members=changed)
    found = scene.ask("GET", f"{aip}/check_fixity/")[2]
    assert (found["success"], found["message"]) == (False, "Bag validation failed")
    assert [each["path"] for each in found["failures"]["files"]["changed"]] == [path]
    record.made = replace(record.made, data=b"no tar")
    assert scene.ask("GET", f"{aip}/check_fixity/")[2]["message"] == "Incorrect package checksum"


def test_a_directory_that_was_approved_is_another_unit_without_its_configuration() -> None:
    replay = Replay()
    request, _ = Recorded.of("s3-runs").transfer("rec-0192f3c1", "s3-prefix")
    unit = replay.begin({**request, "auto_approve": False})
    replay.clock.step(10)
    assert replay.ask("GET", f"http://dashboard/api/transfer/status/{unit}/")[0] == 400
    (waiting,) = json.loads(replay.ask("GET", "http://dashboard/api/transfer/unapproved")[2])["results"]
    body = f"type=unzipped+bag&directory={waiting['directory']}".encode()
    headers = {"authorization": KEY, "accept": "*/*"}
    status, _, answer = replay.fake.answer("POST", "dashboard", "/api/transfer/approve/", headers, body)
    assert status == 200
    begun = json.loads(answer)["uuid"]
    assert begun != unit
    transfer, _ = replay.listen(begun, 20)
    assert transfer[-1] == (200, "USER_INPUT")
    assert replay.fake.answer("POST", "dashboard", "/api/transfer/approve/", headers, body)[0] == 500
