"""The client of a tape endpoint: what answers mean, and that nonsense means nothing (fts-cta.md 7.2)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from perdura.clients import bounded
from perdura.clients.tape_endpoint import Stored, TapeEndpoint, TapeRefused, TapeUnavailable
from perdura.errors import NotStored

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
