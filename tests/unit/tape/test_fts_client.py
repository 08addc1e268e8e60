"""The FTS transport: what each answer of the server means to us (fts-cta.md 2, 6, 10.2)."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from perdura.clients import bounded
from perdura.clients.fts import FtsClient
from perdura.clients.fts_answers import FtsRefused, FtsUnavailable
from perdura.clients.tape import translated

VO_ID = "3f60bff0-adfa-571c-8ee8-0f4b5452c06f"
SID = "aip-42:cern:1"
JOB = "64eab031-5768-528d-94b2-6f0f0611cefd"
WHOAMI = {
    "user_dn": "/CN=robot", "method": "certificate", "vos": ["ce3d2791b8e39b68"], "vos_id": [VO_ID],
    "delegation_id": "ce3d2791b8e39b68",
}  # fmt: skip
DOCUMENT = {"files": [{"sources": ["davs://a.example.org/x"], "destinations": ["davs://b.example.org/x"]}]}

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Server:
    """Answers in order; remembers what it was asked."""

    def __init__(self, *answers: Answer, whoami: dict[str, Any] | None = None) -> None:
        self.answers, self.whoami = list(answers), whoami or WHOAMI
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/whoami":
            return httpx.Response(200, json=self.whoami)
        self.asked.append((request.method, request.url.path))
        self.bodies.append(json.loads(request.content) if request.content else None)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer


def client(server: Server, **more: Any) -> FtsClient:
    return FtsClient("https://fts.example.org:8446", transport=httpx.MockTransport(server), **more)


def job(state: str = "ACTIVE", job_id: str = JOB, **file: Any) -> dict[str, Any]:
    item = {"file_id": 8872390906, "file_index": 0, "file_state": state, "reason": "", "recoverable": None} | file
    return {"job_id": job_id, "job_state": state, "reason": None, "http_status": "200 Ok", "files": [item]}


def unknown(job_id: str) -> dict[str, Any]:
    text = f'No job with the id "{job_id}" has been found'
    return {"job_id": job_id, "http_status": "404 Not Found", "http_message": text}


def foreign(job_id: str) -> dict[str, Any]:
    text = "You do not have enough permissions to access this resource"
    return {"job_id": job_id, "http_status": "403 Forbidden", "http_message": text}


def problem(status: int, text: str) -> httpx.Response:
    return httpx.Response(status, json={"status": str(status), "message": text})


def test_a_submission_is_deterministic() -> None:
    server = Server(httpx.Response(200, json={"job_id": JOB}))
    assert client(server).submit(DOCUMENT, SID) == JOB
    assert server.bodies[0]["params"] == {"id_generator": "deterministic", "sid": SID}


def test_409_means_that_the_job_is_there() -> None:
    server = Server(problem(409, "The sid provided by the user is duplicated"))
    assert client(server).submit(DOCUMENT, SID) == JOB


@pytest.mark.parametrize(
    "lost",
    [httpx.ReadTimeout("late"), httpx.RemoteProtocolError("reset"), httpx.Response(503, text="<p>busy</p>")],
)
def test_an_answer_that_is_lost_is_looked_for_under_the_computed_id(lost: Answer) -> None:
    server = Server(lost, httpx.Response(200, json=[job()]))
    assert client(server).submit(DOCUMENT, SID) == JOB
    assert server.asked == [("POST", "/jobs"), ("GET", f"/jobs/{JOB},")]


def test_a_submission_that_did_not_arrive_may_be_repeated() -> None:
    server = Server(httpx.ConnectError("down"), httpx.Response(207, json=[unknown(JOB)]))
    with pytest.raises(FtsUnavailable):
        client(server).submit(DOCUMENT, SID)


@pytest.mark.parametrize(
    ("answer", "status", "code", "words"),
    [
        (problem(400, "Missing host (davs:/a)"), 400, "fts-refused", "Missing host"),
        (problem(405, "Deletion jobs are no longer supported by FTS"), 405, "fts-refused", "no longer supported"),
        (problem(403, "Not enough permissions"), 403, "fts-refused", "Not enough permissions"),
        (
            httpx.Response(403, text="<title>403</title>\n<h1>Forbidden</h1>\n<p>The user has been banned</p>\n"),
            403,
            "fts-banned",
            "The user has been banned",
        ),
        (problem(419, "No delegation found"), 419, "fts-delegation-needed", "No delegation found"),
    ],
)
def test_refusals_keep_the_servers_words(answer: httpx.Response, status: int, code: str, words: str) -> None:
    with pytest.raises(FtsRefused, match=words) as refused:
        client(Server(answer)).submit(DOCUMENT, SID)
    assert (refused.value.status, refused.value.code) == (status, code)


def test_419_is_answered_with_a_delegation_and_the_same_sid() -> None:
    class Delegator:
        count = 0

        def delegate(self, _: FtsClient, __: Any) -> None:
            self.count += 1

    delegator = Delegator()
    server = Server(problem(419, "No delegation found"), httpx.Response(200, json={"job_id": JOB}))
    assert client(server, delegator=delegator).submit(DOCUMENT, SID) == JOB
    assert delegator.count == 1
    assert server.bodies[0] == server.bodies[1]


def test_an_id_that_is_not_the_computed_one_is_an_alarm_and_its_job_cancelled() -> None:
    server = Server(httpx.Response(200, json={"job_id": "other"}), httpx.Response(200, json=[]))
    with pytest.raises(FtsRefused) as refused:
        client(server).submit(DOCUMENT, SID)
    assert refused.value.code == "fts-unexpected-id"
    assert server.asked[-1] == ("DELETE", "/jobs/other,")


OTHER_VO = "00000000-0000-5000-8000-00000000000b"
UNDER_OTHER_VO = str(uuid.uuid5(uuid.UUID(OTHER_VO), SID))


def moved(server: Server) -> Callable[[httpx.Request], httpx.Response]:
    """FTS takes the submission of a user whom its administrator has put into another VO meanwhile."""

    def answer(_: httpx.Request) -> httpx.Response:
        server.whoami = {**WHOAMI, "vos": ["preservation"], "vos_id": [OTHER_VO]}
        return httpx.Response(200, json={"job_id": UNDER_OTHER_VO})

    return answer


def test_a_job_made_in_our_new_vo_is_ours_where_the_old_one_has_none() -> None:
    server = Server()
    server.answers = [moved(server), httpx.Response(207, json=[unknown(JOB)])]
    mine = client(server)
    mine.identity()
    assert mine.submit(DOCUMENT, SID) == UNDER_OTHER_VO
    assert mine.identity().vo == "preservation"


@pytest.mark.parametrize("lost", [httpx.Response(502), httpx.ReadError("reset")], ids=["502", "reset"])
def test_a_job_made_in_our_new_vo_is_found_although_its_answer_was_lost(lost: Any) -> None:
    server = Server()

    def loses(request: httpx.Request) -> httpx.Response:
        moved(server)(request)
        if isinstance(lost, Exception):
            raise lost
        return lost

    server.answers = [loses, httpx.Response(207, json=[unknown(JOB), job(job_id=UNDER_OTHER_VO)])]
    mine = client(server)
    mine.identity()
    assert mine.submit(DOCUMENT, SID) == UNDER_OTHER_VO
    assert [method for method, _ in server.asked] == ["POST", "GET"]


def test_409_names_the_job_of_the_vo_in_which_fts_has_us_by_now() -> None:
    server = Server()

    def known(request: httpx.Request) -> httpx.Response:
        moved(server)(request)
        return problem(409, "The sid provided by the user is duplicated")

    server.answers = [known, httpx.Response(207, json=[unknown(JOB), job(job_id=UNDER_OTHER_VO)])]
    mine = client(server)
    mine.identity()
    assert mine.submit(DOCUMENT, SID) == UNDER_OTHER_VO


def test_a_job_made_in_our_new_vo_is_cancelled_where_one_of_the_old_vo_may_run() -> None:
    server = Server()
    server.answers = [moved(server), httpx.Response(207, json=[foreign(JOB)]), httpx.Response(200, json=[])]
    mine = client(server)
    mine.identity()
    with pytest.raises(FtsRefused, match="that job was cancelled"):
        mine.submit(DOCUMENT, SID)
    assert server.asked[-1] == ("DELETE", f"/jobs/{UNDER_OTHER_VO},")


def test_ids_are_never_computed_for_an_anonymous_user() -> None:
    anonymous = {"user_dn": "anon", "method": "unauthenticated", "vos": [], "vos_id": [], "delegation_id": None}
    with pytest.raises(FtsRefused) as refused:
        client(Server(whoami=anonymous)).submit(DOCUMENT, SID)
    assert refused.value.code == "fts-not-authenticated"


@pytest.mark.parametrize(
    "change",
    [
        {"sources": ["https://s3.example.org/" + "x" * 1100]},
        {"destinations": ["davs://b.example.org/日本"]},
        {"activity": "a" * 256},
        {"checksum": "SHA512:" + "0" * 128},
    ],
)
def test_what_fts_would_only_answer_with_500_is_not_sent(change: dict[str, Any]) -> None:
    server = Server()
    with pytest.raises(FtsRefused):
        client(server).submit({"files": [{**DOCUMENT["files"][0], **change}]}, SID)
    assert server.asked == []


def test_status_is_asked_in_bulk_and_told_per_job() -> None:
    ids = [f"00000000-0000-5000-8000-{n:012d}" for n in range(450)]

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.path.removeprefix("/jobs/").strip(",").split(",")
        return httpx.Response(207, json=[job(job_id=i) if i != ids[7] else unknown(i) for i in asked])

    server = Server(answer, answer, answer)
    found = client(server).jobs(ids)
    assert len(server.asked) == 3
    assert found[ids[7]].state is None
    assert found[ids[8]].state == "ACTIVE"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text='[{"job_id": "64ea'),
        httpx.Response(200, text="<html>maintenance</html>"),
        httpx.Response(200, json=[]),
        httpx.Response(500, json={"message": "internal"}),
        httpx.ReadError("reset"),
    ],
)
def test_a_poll_that_was_cut_off_concludes_nothing(answer: Answer) -> None:
    with pytest.raises(FtsUnavailable):
        client(Server(answer)).jobs([JOB])


def bulk(spoil: Callable[[list[str]], httpx.Response | None]) -> tuple[Server, list[str]]:
    """An FTS that knows a hundred jobs, and answers some requests otherwise."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.path.removeprefix("/jobs/").strip(",").split(",")
        return spoil(asked) or httpx.Response(200, json=[job(job_id=each) for each in asked])

    return Server(*[answer] * 90), [f"00000000-0000-5000-8000-{n:012d}" for n in range(100)]


@pytest.mark.parametrize(
    "item", [None, 3, {"job_id": 7}, {"job_state": "ACTIVE"}, {**job(), "files": [{"file_id": None}]}]
)
def test_one_job_that_is_not_understood_or_left_out_is_untold_and_the_others_are_told(item: Any) -> None:
    known = {"job_id": "00000000-0000-5000-8000-000000000007"}

    def spoil(asked: list[str]) -> httpx.Response:
        bad = {**item, **known} if isinstance(item, dict) and "files" in item else item
        return httpx.Response(200, json=[job(job_id=each) if each != known["job_id"] else bad for each in asked])

    server, ids = bulk(spoil)
    found = client(server).jobs(ids)
    assert len(server.asked) == 1
    assert [each for each in ids if translated(found[each]).state == "untold"] == [known["job_id"]]
    assert sum(translated(found[each]).state == "active" for each in ids) == 99


@pytest.mark.parametrize(
    "spoilt", [httpx.Response(500, json={"message": "UnicodeDecodeError"}), httpx.Response(200, text='[{"job_id": "00')]
)
@pytest.mark.parametrize(
    "bad", [{3}, {0, 99}, {10, 40, 90}, {10, 40, 60, 90}, {95, 96, 97, 98, 99}, {5, 28, 53, 75, 90}]
)
def test_jobs_that_spoil_every_answer_they_are_in_are_found_out(spoilt: httpx.Response, bad: set[int]) -> None:
    server, ids = bulk(lambda asked: spoilt if {ids[n] for n in bad} & set(asked) else None)
    found = client(server).jobs(ids)
    assert {n for n, each in enumerate(ids) if translated(found[each]).state == "untold"} == bad
    assert len(server.asked) < 80


@pytest.mark.parametrize(
    ("answer", "most"), [(httpx.Response(500), 17), (httpx.Response(503), 1), (httpx.ReadError("reset"), 1)]
)
def test_an_fts_that_tells_of_no_job_is_not_asked_for_each(answer: Answer, most: int) -> None:
    server = Server(*[answer] * 60)
    with pytest.raises(FtsUnavailable):
        client(server).jobs([f"00000000-0000-5000-8000-{n:012d}" for n in range(100)])
    assert len(server.asked) <= most


def test_when_time_is_over_jobs_not_told_yet_wait_for_the_next_look() -> None:
    server, ids = bulk(lambda asked: httpx.Response(500) if ids[10] in asked else None)
    late = SimpleNamespace(near=lambda: len(server.asked) >= 2)
    found = client(server).jobs(ids, late)
    assert len(server.asked) == 2
    assert [translated(found[each]).state for each in ids] == ["untold"] * 50 + ["active"] * 50


def test_when_time_is_over_and_nothing_is_told_the_look_has_failed() -> None:
    server, ids = bulk(lambda asked: httpx.Response(500))
    with pytest.raises(FtsUnavailable):
        client(server).jobs(ids, SimpleNamespace(near=lambda: len(server.asked) >= 2))
    assert len(server.asked) == 2


@pytest.mark.parametrize("spoilt", [500, 403, 400])
def test_one_job_that_fts_does_not_cancel_keeps_no_other_running(spoilt: int) -> None:
    cancelled: set[str] = set()
    ids = [f"00000000-0000-5000-8000-{n:012d}" for n in range(100)]

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.path.removeprefix("/jobs/").strip(",").split(",")
        if ids[42] in asked:
            return problem(spoilt, "no")
        cancelled.update(asked)
        return httpx.Response(200, json=[])

    client(Server(*[answer] * 60)).cancel(ids)
    assert cancelled == set(ids) - {ids[42]}


@pytest.mark.parametrize(("answer", "most"), [(httpx.Response(500), 17), (httpx.Response(503), 1)])
def test_an_fts_that_cancels_no_job_is_not_asked_for_each(answer: Answer, most: int) -> None:
    server = Server(*[answer] * 60)
    with pytest.raises(FtsUnavailable):
        client(server).cancel([f"00000000-0000-5000-8000-{n:012d}" for n in range(100)])
    assert len(server.asked) == most


def test_a_single_unknown_job_is_unknown_also_as_an_object() -> None:
    found = client(Server(httpx.Response(404, json=unknown(JOB)))).jobs([JOB])
    assert translated(found[JOB]).state == "unknown"


def test_a_job_that_fts_will_not_show_is_not_unknown() -> None:
    found = client(Server(httpx.Response(207, json=[foreign(JOB)]))).jobs([JOB])
    seen = translated(found[JOB])
    assert seen.state == "withheld"
    assert "403 Forbidden: You do not have enough permissions" in str(seen.reason)


def test_cancel_leaves_final_and_unknown_jobs_alone() -> None:
    client(Server(httpx.Response(207, json=[unknown(JOB)]))).cancel([JOB])


@pytest.mark.parametrize(
    ("item", "state"),
    [
        (job("SUBMITTED"), "active"),
        (job("ARCHIVING"), "archiving"),
        (job("FINISHED"), "finished"),
        (job("FAILED", reason="TRANSFER [5] x"), "failed"),
        (job("CANCELED"), "cancelled"),
        ({**job("FINISHED"), "job_state": "CANCELED"}, "finished"),
        ({**job("NOT_USED"), "job_state": "FAILED"}, "failed"),
        ({**job("SUBMITTED"), "job_state": "CANCELED"}, "cancelled"),
        ({**job("FAILED"), "job_state": "FINISHEDDIRTY"}, "failed"),
    ],
)
def test_the_file_decides_what_a_job_means(item: dict[str, Any], state: str) -> None:
    found = client(Server(httpx.Response(200, json=[item]))).jobs([JOB])
    assert translated(found[JOB]).state == state


def test_what_was_found_at_the_destination_is_passed_on() -> None:
    report = {
        "file_size": 5,
        "checksum_type": "ADLER32",
        "checksum_value": "A1B2C3D",
        "file_on_disk": True,
        "file_on_tape": False,
    }
    item = job("FAILED", reason="DESTINATION [17] exists", file_metadata={"aip": "1", "dst_file": report})
    there = translated(client(Server(httpx.Response(200, json=[item]))).jobs([JOB])[JOB]).at_destination
    assert there is not None
    assert (there.size, there.adler32, there.on_disk, there.on_tape) == (5, "0a1b2c3d", True, False)


def test_the_token_goes_in_a_header_and_nowhere_else() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[job()])

    client(Server(answer), token=lambda: "secret").jobs([JOB])
    assert seen[0].headers["Authorization"] == "Bearer secret"
    assert "secret" not in str(seen[0].url)


NONSENSE = [None, 7, "FINISHED", [], {}, [[]], [None], ["x"], {"job_id": JOB}, [{"job_state": "FINISHED"}],
            [{**job(), "files": [{"file_id": "many"}]}], [{**job(), "files": 3}]]  # fmt: skip


@pytest.mark.parametrize("document", NONSENSE)
def test_nonsense_is_no_state_of_a_job(document: Any) -> None:
    server = Server(httpx.Response(200, json=document))
    if document == {"job_id": JOB}:
        assert client(server).jobs([JOB])[JOB].state is None, "an error of the server for that job"
        return
    with pytest.raises(FtsUnavailable):
        client(server).jobs([JOB])


def test_jobs_that_were_not_asked_for_are_left_out() -> None:
    other = "00000000-0000-5000-8000-000000000000"
    server = Server(httpx.Response(200, json=[job(), job(job_id=other)]))
    assert client(server).jobs([JOB]).keys() == {JOB}


@pytest.mark.parametrize("document", [None, 7, [], {}, "id", {"id": JOB}])
def test_nonsense_is_no_submission(document: Any) -> None:
    with pytest.raises(FtsUnavailable):
        client(Server(httpx.Response(200, json=document))).submit(DOCUMENT, SID)


@pytest.mark.parametrize("whoami", [{"method": "certificate", "vos_id": [7]}, {"vos_id": VO_ID}, {"vos_id": {"a": 1}}])
def test_nonsense_is_no_identity(whoami: dict[str, Any]) -> None:
    with pytest.raises(FtsUnavailable):
        client(Server(whoami=whoami)).identity()


@pytest.mark.parametrize("document", [None, {}, [{}], [{"attempt": 1, "datetime": "yesterday"}], "x"])
def test_nonsense_is_no_failed_attempt(document: Any) -> None:
    with pytest.raises(FtsUnavailable):
        client(Server(httpx.Response(200, json=document))).retries(JOB, 1)


@pytest.mark.parametrize("report", [7, [], {"file_size": "big"}, {"file_size": None, "checksum_value": 5}])
def test_a_report_of_the_destination_that_is_nonsense_proves_nothing(report: Any) -> None:
    server = Server(httpx.Response(200, json=[job("FAILED", file_metadata={"dst_file": report})]))
    found = translated(client(server).jobs([JOB])[JOB])
    assert found.at_destination is None or found.at_destination.size is None


@pytest.mark.parametrize(
    "boundless",
    [
        httpx.Response(200, content=b" " * (bounded.MOST + 1)),
        httpx.Response(200, content=gzip.compress(b"[]"), headers={"Content-Encoding": "gzip"}),
    ],
)
def test_an_answer_without_bounds_is_none(boundless: httpx.Response) -> None:
    with pytest.raises(FtsUnavailable, match="TooMuch"):
        client(Server(boundless)).jobs([JOB])


def test_a_body_that_drips_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "SECONDS", -1)
    with pytest.raises(bounded.TooMuch):
        bounded.read([b"{"])
