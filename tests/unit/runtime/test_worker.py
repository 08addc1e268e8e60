"""The answers of the worker: what leaves in one message, and what they say."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidHeader, InvalidHeaderName

from perdura.runtime.worker import TOGETHER, WholeResponse


class _Request:
    def __init__(self, method: str = "GET") -> None:
        self.method = method
        self.version = (1, 1)

    def should_close(self) -> bool:
        return False


class _Connection:
    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.messages.append(data)


def _answered(parts: list[bytes], *, status: str = "200 OK", length: bool = True, method: str = "GET") -> list[bytes]:
    connection = _Connection()
    response: Any = wsgi.Response(_Request(method), connection, Config())
    headers = [("Content-Length", str(sum(map(len, parts))))] if length else []
    response.start_response(status, headers)
    for part in parts:
        response.write(part)
    response.close()
    return connection.messages


def test_gunicorn_answers_with_it() -> None:
    assert wsgi.Response is WholeResponse


def test_head_and_first_part_leave_in_one_message() -> None:
    first, second = _answered([b"first ", b"second"])
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert first.endswith(b"\r\n\r\nfirst ")
    assert second == b"second"


def test_a_body_of_unknown_length_is_sent_in_chunks() -> None:
    sent = b"".join(_answered([b"first ", b"second"], length=False))
    head, _, body = sent.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"6\r\nfirst \r\n6\r\nsecond\r\n0\r\n\r\n"


def test_a_large_part_is_not_copied_to_go_with_the_head() -> None:
    head, body = _answered([b"x" * TOGETHER])
    assert head.endswith(b"\r\n\r\n")
    assert body == b"x" * TOGETHER


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "304 NOT MODIFIED")])
def test_an_answer_without_a_body_has_a_head(method: str, status: str) -> None:
    (head,) = _answered([b"body"], status=status, method=method)
    assert head.endswith(b"\r\n\r\n")


def test_an_empty_answer_has_a_head() -> None:
    (head,) = _answered([])
    assert b"Content-Length: 0\r\n" in head


def test_a_part_that_is_no_bytes_is_refused_before_anything_is_sent() -> None:
    connection = _Connection()
    response: Any = wsgi.Response(_Request(), connection, Config())
    response.start_response("200 OK", [("Content-Length", "4")])
    with pytest.raises(TypeError):
        response.write("text")
    assert response.sock is connection
    assert connection.messages == []


def _headers(*headers: tuple[str, str]) -> list[tuple[str, str]]:
    response: Any = wsgi.Response(_Request(), _Connection(), Config())
    response.start_response("200 OK", [*headers, ("Content-Length", "4")])
    assert response.response_length == 4
    return list(response.headers[:-1])


def test_headers_of_the_connection_are_the_servers_own() -> None:
    kept = ("ETag", '"x"')
    assert _headers(kept) == [kept]
    assert _headers(kept, ("Connection", "close"), ("Date", "today"), ("X-Spaced", " a ")) == [kept, ("X-Spaced", "a")]


@pytest.mark.parametrize("header", [("X", "a\r\nY: b"), ("X\r\nY", "b"), ("X:", "b"), ("", "b"), ("X", "a\n")])
def test_a_header_that_would_be_two_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises((InvalidHeader, InvalidHeaderName)):
        _headers(header)
