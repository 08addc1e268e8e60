"""The fake answers as the recorded Archivematica 1.17.0 with Storage Service 0.23 did: same status, same shape.

Each recorded transfer is asked for again in the same circumstances. What its status calls said in their order has to
be said by the fake too, with the same end; every other recorded answer has to have the same code, content type,
headers of Archivematica and members.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.peers.archivematica.replay import Recorded, Replay
from tests.peers.archivematica.server import KEY


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
        ("api-transcript-am1.17-ss0.23", "empty", "empty"),
        ("api-transcript-am1.17-ss0.23", "default-config", "dflt"),
        ("api-transcript-am1.17-ss0.23", "unknown-config", "badcfg"),
        ("api-transcript-am1.17-ss0.23", "manual", "manual"),
        ("outcomes", "not-a-bag", "notabag"),
        ("restart-and-wedge", "after-wedge-restart", "after-wedge-2"),
        ("same-name", "same-name-2", "uniq-b"),
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


@pytest.mark.parametrize(
    ("recording", "tag", "name", "apart"),
    [
        ("outcomes", "idempotency", "idem", 0.0),
        ("same-name", "same-name-0", "same", 0.0),
        ("same-name-standard", "same-name-standard", "mix0", 0.0),
        ("same-name-standard", "same-name-later", "late0", 1.5),
        ("targz-and-same-name-zip", "same-name-zip", None, 0.0),
    ],
)
def test_transfers_of_one_name_in_flight_end_as_recorded(
    recording: str, tag: str, name: str | None, apart: float
) -> None:
    """Every pair of which both requests and an end were recorded."""
    recorded, replay = Recorded.of(recording), Replay()
    asked = [
        (row["request"]["json"], str(json.loads(row["body"])["id"]))
        for row in recorded.rows
        if row["tag"] == tag and row["method"] == "POST" and row["request"]["json"]["name"] in {name, "x", "y"}
    ]
    assert len(asked) == 2
    begun = []
    for request, _ in asked:
        begun.append(replay.begin(request))
        replay.ask("GET", f"http://dashboard/api/transfer/status/{begun[0]}/")
        replay.clock.step(apart)
    replay.listen(begun[0], 60)
    theirs = Counter(filter(None, (_end(recorded.said, recorded.sip(unit), unit) for _, unit in asked)))
    mine = Counter(_end(replay.said, replay.sip(unit), unit) for unit in begun)
    assert theirs
    assert theirs <= mine, (theirs, mine)


def _end(said: Callable[[str], list[tuple[int, str | None]]], sip: str | None, unit: str) -> tuple[str, str] | None:
    """Where a transfer, or the SIP of it, ended; None where that is not told."""
    stage, found = ("ingest", said(sip)) if sip and said(sip) else ("transfer", said(unit))
    status = found[-1][1] if found else None
    over = {"FAILED", "USER_INPUT"} if stage == "transfer" else {"FAILED", "COMPLETE"}
    return (stage, status) if status in over else None


def test_what_comes_after_an_empty_directory_is_not_heard_of_until_the_restart() -> None:
    recorded, replay = Recorded.of("api-transcript-am1.17-ss0.23"), Replay()
    replay.listen(replay.begin(recorded.transfer("empty", "empty")[0]), 30)
    request, _ = recorded.transfer("dflt", "default-config")
    later = replay.begin(request)
    transfer, _ = replay.listen(later, 30)
    assert {status for status, _ in transfer} == {400}
    replay.pipeline.restart()
    again, _ = replay.listen(replay.begin(request), 30)
    assert again[-1] == (200, "USER_INPUT")


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


def test_moving_and_fixity_take_the_course_that_was_recorded() -> None:
    scene = Stored()
    aip, places = f"/api/v2/file/{scene.aip}", scene.replay.fake.service.places
    status, headers, _ = scene.ask("POST", f"{aip}/move/", f"location_uuid={places.elsewhere}".encode())
    assert (status, headers["Location"]) == (202, "/api/v2/async/1/")
    assert scene.ask("GET", f"{aip}/")[2]["status"] == "MOVING"
    assert scene.ask("GET", "/api/v2/async/1/")[2]["completed"] is False
    scene.replay.clock.step(6)
    assert scene.ask("GET", "/api/v2/async/1/")[2]["completed"] is True
    assert scene.ask("GET", f"{aip}/")[2]["status"] == "UPLOADED"
    assert scene.ask("GET", f"{aip}/check_fixity/")[2]["success"] is True
    record = scene.replay.pipeline.stored[scene.aip]
    path = next(each for each in record.made.members if each.startswith("data/objects/"))
    changed = {**record.made.members, path: bytes(255 - each for each in record.made.members[path])}
    record.made = replace(record.made, data=b"", members=changed)
    found = scene.ask("GET", f"{aip}/check_fixity/")[2]
    assert (found["success"], found["message"]) == (False, "Bag validation failed")
    assert [each["path"] for each in found["failures"]["files"]["changed"]] == [path]
    record.made = replace(record.made, data=b"no tar")
    assert scene.ask("GET", f"{aip}/check_fixity/")[2]["message"] == "Incorrect package checksum"


def _approved(replay: Replay, unit: str) -> tuple[str, dict[str, Any]]:
    """What waits after a transfer was begun that nobody approved, and its status; it is approved, once."""
    replay.clock.step(10)
    (waiting,) = json.loads(replay.ask("GET", "http://dashboard/api/transfer/unapproved")[2])["results"]
    status = json.loads(replay.ask("GET", f"http://dashboard/api/transfer/status/{waiting['uuid']}/")[2])
    told = urlencode({"type": waiting["type"], "directory": waiting["directory"]}).encode()
    headers = {"authorization": KEY, "accept": "*/*"}
    code, _, answer = replay.fake.answer("POST", "dashboard", "/api/transfer/approve/", headers, told)
    assert (code, json.loads(answer)["uuid"]) == (200, waiting["uuid"])
    assert replay.fake.answer("POST", "dashboard", "/api/transfer/approve/", headers, told)[0] == 500
    return str(waiting["uuid"]), status


def test_a_directory_that_waits_for_approval_is_another_unit_without_its_configuration() -> None:
    replay = Replay()
    request, _ = Recorded.of("decisions").transfer("approve-me", "approve-directory")
    unit = replay.begin(request)
    other, status = _approved(replay, unit)
    assert other != unit
    assert (status["status"], status["microservice"]) == ("USER_INPUT", "Approve bagit transfer")
    transfer, _ = replay.listen(other, 20)
    assert transfer[-1] == (200, "USER_INPUT")
    assert replay.ask("GET", f"http://dashboard/api/transfer/status/{unit}/")[0] == 400


def test_a_zip_that_waits_for_approval_keeps_its_id_and_its_configuration() -> None:
    replay = Replay()
    recorded = Recorded.of("decisions")
    request, theirs = recorded.transfer("n", "approve-zip")
    unit = replay.begin(request)
    same, status = _approved(replay, unit)
    assert same == unit
    assert (status["status"], status["microservice"]) == ("USER_INPUT", "Approve zipped bagit transfer")
    transfer, ingest = replay.listen(unit, 30)
    assert _is_within([each for each in recorded.said(theirs) if each[1] not in {None, "USER_INPUT"}], transfer)
    assert ingest[-1] == (200, "COMPLETE")
