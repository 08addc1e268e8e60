"""The client of a tape endpoint: what answers mean, and that nonsense means nothing (fts-cta.md 7.2)."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from perdura.clients import bounded
from perdura.clients.tape import FtsTape
from perdura.clients.tape_endpoint import Stored, TapeEndpoint, TapeRefused, TapeUnavailable
from perdura.errors import NotStored
from perdura.steps.archive_decisions import Act, Expected, on_residency

URL = "https://tape.example.org:8444"
DISCOVERY = {"sitename": "x", "endpoints": [{"uri": f"{URL}/api/v1", "version": "v1"}]}


def endpoint(*answers: Any, discovery: Any = DISCOVERY, status: int = 200) -> TapeEndpoint:
    """An endpoint that gives these documents, one after the other."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/.well-known/"):
            return httpx.Response(200, json=discovery)
        return httpx.Response(status, json=left.pop(0))

    return TapeEndpoint(URL, transport=httpx.MockTransport(answer))


def tape_with(files: dict[str, str], heads: dict[str, httpx.Response | Exception]) -> tuple[FtsTape, list[str]]:
    """A tape system whose files have these localities and answers to HEAD; and the files asked for by HEAD."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/.well-known/"):
            return httpx.Response(200, json=DISCOVERY)
        if request.method == "POST":
            paths = json.loads(request.content)["paths"]
            return httpx.Response(200, json=[{"path": path, "locality": files[path[3:]]} for path in paths])
        asked.append(request.url.path[3:])
        given = heads[asked[-1]]
        if isinstance(given, Exception):
            raise given
        return given

    there = TapeEndpoint(URL, transport=httpx.MockTransport(answer))
    return FtsTape(None, there, f"{URL}/b", archive_timeout=1), asked  # type: ignore[arg-type]


def described(size: int) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Length": str(size), "Digest": "adler32=0000000a"})


@pytest.mark.parametrize(
    "bad", [httpx.Response(500), httpx.Response(403), httpx.Response(404), httpx.ReadTimeout("late")]
)
def test_one_file_about_which_the_endpoint_errs_does_not_keep_the_others_waiting(bad: Any) -> None:
    tape, _ = tape_with({"a": "TAPE", "z": "DISK_AND_TAPE"}, {"a": bad, "z": described(7)})
    found = tape.residency(["a", "z"])
    assert (found["z"].on_tape, found["z"].size, found["z"].adler32) == (True, 7, "0000000a")
    assert (found["a"].on_tape, found["a"].error) == (False, "UNAVAILABLE")
    assert found["a"].said
    assert on_residency(found["a"], Expected(7, "0000000a"), waited=timedelta(), patience=timedelta()).act is Act.WAIT


def test_what_has_no_bytes_on_disk_or_tape_is_not_asked_for_its_checksum() -> None:
    files = {"a": "LOST", "b": "UNAVAILABLE", "c": "NONE", "d": "DISK"}
    tape, asked = tape_with(files, {"d": described(7)})
    found = tape.residency(list(files))
    assert asked == ["d"]
    assert [found[path].error for path in files] == ["LOST", "UNAVAILABLE", "NONE", None]


def test_an_endpoint_that_answers_for_no_file_is_not_asked_for_hundreds() -> None:
    names = [f"f{number:03}" for number in range(100)]
    tape, asked = tape_with(dict.fromkeys(names, "TAPE"), dict.fromkeys(names, httpx.ReadTimeout("late")))
    assert {each.error for each in tape.residency(names).values()} == {"UNAVAILABLE"}
    assert len(asked) == 3


@pytest.mark.parametrize("spoilt", [None, 400, 500, "not JSON"])
def test_one_path_that_spoils_the_answer_is_unavailable_and_the_others_are_told(spoilt: Any) -> None:
    """It is left out, or the whole request is refused or fails for it."""
    asked: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/.well-known/"):
            return httpx.Response(200, json=DISCOVERY)
        if request.method == "HEAD":
            return described(7)
        paths = json.loads(request.content)["paths"]
        asked.append(paths)
        if "/b/f042" in paths and isinstance(spoilt, int):
            return httpx.Response(spoilt, json={"title": "spoilt"})
        if "/b/f042" in paths and spoilt is not None:
            return httpx.Response(200, text=spoilt)
        told = [{"path": path, "locality": "TAPE"} for path in paths if path != "/b/f042"]
        return httpx.Response(200, json=[*told, {"path": 3}, None])

    there = TapeEndpoint(URL, transport=httpx.MockTransport(answer))
    tape = FtsTape(None, there, f"{URL}/b", archive_timeout=1)  # type: ignore[arg-type]
    found = tape.residency([f"f{number:03}" for number in range(100)])
    assert len(found) == 100
    assert [path for path, each in found.items() if not each.on_tape] == ["f042"]
    assert (found["f042"].error, bool(found["f042"].said)) == ("UNAVAILABLE", True)
    assert len(asked) < 20


def test_when_time_is_over_paths_not_told_yet_wait_for_the_next_look() -> None:
    asked: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/.well-known/"):
            return httpx.Response(200, json=DISCOVERY)
        paths = json.loads(request.content)["paths"]
        asked.append(paths)
        if "/f042" in paths:
            return httpx.Response(500)
        return httpx.Response(200, json=[{"path": path, "locality": "TAPE"} for path in paths])

    there = TapeEndpoint(URL, transport=httpx.MockTransport(answer))
    paths = [f"/f{number:03}" for number in range(100)]
    found = there.localities(paths, SimpleNamespace(near=lambda: len(asked) >= 3))
    assert len(asked) == 3
    assert sum(each.locality == "TAPE" for each in found.values()) == 50
    assert {each.locality for each in found.values()} == {"TAPE", "UNAVAILABLE"}


@pytest.mark.parametrize("document", [None, 3, {}, "x", {"requestId": None}, {"requestId": "../../jobs"},
                                      {"requestId": "x" * 500}, {"requestId": ""}])  # fmt: skip
def test_nonsense_is_no_stage_request(document: Any) -> None:
    with pytest.raises(TapeUnavailable):
        endpoint(document).stage(["/a"], 60)


@pytest.mark.parametrize("document", [None, [], {}, {"files": 3}, {"files": [{}]}, {"files": ["/a"]}])
def test_nonsense_is_no_progress(document: Any) -> None:
    with pytest.raises(TapeUnavailable):
        endpoint(document).staged("r")


@pytest.mark.parametrize("document", [None, 3, [3], [{}], {"path": "/a"}])
def test_nonsense_is_no_locality(document: Any) -> None:
    with pytest.raises(TapeUnavailable):
        endpoint(document).localities(["/a"])


@pytest.mark.parametrize(
    "discovery", [None, [], {"endpoints": 3}, {"endpoints": [3]}, {"endpoints": [{"version": "v1"}]}]
)
def test_nonsense_is_no_tape_rest_api(discovery: Any) -> None:
    with pytest.raises((TapeUnavailable, TapeRefused)):
        endpoint(discovery=discovery).api()


def test_a_tape_rest_api_in_the_clear_is_not_used_by_an_encrypted_endpoint() -> None:
    insecure = {"endpoints": [{"uri": "http://tape.example.org/api/v1", "version": "v1"}]}
    with pytest.raises(TapeRefused):
        endpoint(discovery=insecure).api()


def test_a_refusal_that_is_no_problem_document_is_unavailability() -> None:
    with pytest.raises(TapeUnavailable):
        endpoint(["no"], status=400).staged("r")
    with pytest.raises(TapeRefused, match="Bad: worse"):
        endpoint({"title": "Bad", "detail": "worse"}, status=400).staged("r")
    with pytest.raises(NotStored):
        endpoint({}, status=404).unstage("r", ["/a"])


def test_an_answer_without_bounds_is_none() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b" " * (bounded.MOST + 1))

    with pytest.raises(TapeUnavailable, match="TooMuch"):
        TapeEndpoint(URL, transport=httpx.MockTransport(answer)).localities(["/a"])


def test_the_size_of_a_file_that_is_compressed_is_told() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Length": str(1 << 40), "Content-Encoding": "gzip"})

    assert TapeEndpoint(URL, transport=httpx.MockTransport(answer)).stat("/a.tar.gz") == Stored(1 << 40, None)


def reading(answer: httpx.Response) -> bytes:
    """What is read where the bytes 100 to 199 of a file are asked for."""
    there = TapeEndpoint(URL, transport=httpx.MockTransport(lambda _: answer))
    return b"".join(there.read("/a", 100, 100))


def ranged(told: str | None, size: int, **headers: str) -> httpx.Response:
    said = {} if told is None else {"Content-Range": told}
    return httpx.Response(206, content=iter([b"x" * size]), headers={**said, **headers})


@pytest.mark.parametrize("total", ["200", "1000", "*"])
def test_a_range_is_read_as_it_was_asked_for(total: str) -> None:
    assert len(reading(ranged(f"bytes 100-199/{total}", 100))) == 100


def test_a_file_that_ends_before_gives_what_it_has() -> None:
    assert len(reading(ranged("bytes 100-149/150", 50))) == 50
    assert reading(httpx.Response(416, headers={"Content-Range": "bytes */100"})) == b""


@pytest.mark.parametrize(
    "answer",
    [
        ranged("bytes 100-149/1000", 50),
        ranged("bytes 100-149/*", 50),
        ranged("bytes 500-599/1000", 100),
        ranged("bytes 0-99/1000", 100),
        ranged("bytes 100-249/1000", 150),
        ranged("bytes 100-199/1000", 99),
        ranged("bytes 100-199/1000", 101),
        ranged("bytes 199-100/1000", 100),
        ranged("bytes 100-199", 100),
        ranged(None, 100),
        ranged(None, 100, **{"Content-Length": "100"}),
        ranged("bytes 100-199/1000", 100, **{"Content-Encoding": "gzip"}),
        httpx.Response(200, content=b"x" * 100),
        httpx.Response(416, headers={"Content-Range": "bytes */1000"}),
        httpx.Response(416),
    ],
    ids=str,
)
def test_bytes_that_were_not_asked_for_are_not_read(answer: httpx.Response) -> None:
    with pytest.raises(TapeUnavailable):
        reading(answer)
