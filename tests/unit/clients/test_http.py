"""The outgoing client's decisions: what is recorded, what waits, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http.client import BadStatusLine

import pytest

from perdura.clients.connections import Exchange
from perdura.clients.http import HttpClient, UpstreamRefused, recorded, redacted, retry_after, status_error
from perdura.clients.reach import DestinationRefused, Reach
from perdura.errors import Rejected, Retryable, UpstreamUnavailable
from tests.upstreams.recorded import exchange

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REACH = Reach(frozenset({"example.org"}))


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://u:p@example.org/a", "https://example.org/a"),
        ("https://example.org/a?token=x&b=1", "https://example.org/a?token=REDACTED&b=1"),
        ("https://example.org/a?X-Amz-Signature=x", "https://example.org/a?X-Amz-Signature=REDACTED"),
        ("https://example.org/a?access_token=x", "https://example.org/a?access_token=REDACTED"),
        ("https://example.org/a?author=x&page=2&pwd=3", "https://example.org/a?author=x&page=2&pwd=REDACTED"),
        ("https://example.org/a%20b?q=%C3%A9#part", "https://example.org/a%20b?q=%C3%A9#part"),
        ("https://example.org/a;jsessionid=x/b?c=1", "https://example.org/a;jsessionid=REDACTED/b?c=1"),
        ("https://example.org/a#access_token=x&b=1", "https://example.org/a#access_token=REDACTED&b=1"),
        ("https://example.org/a?b=1;token=x", "https://example.org/a?b=1;token=REDACTED"),
        ("https://example.org/a?ticket=ST-1", "https://example.org/a?ticket=REDACTED"),
    ],
)
def test_secrets_leave_addresses(url: str, kept: str) -> None:
    assert redacted(url) == kept


def test_secrets_leave_headers() -> None:
    headers = (("set-cookie", "s=1"), ("location", "https://u:p@example.org/?sig=1"), ("etag", '"1"'))
    assert recorded(headers) == (("location", "https://example.org/?sig=REDACTED"), ("etag", '"1"'))
    linked = (("x-csrf-token", "s"), ("x-auth-token", "s"), ("link", '</a?token=s>; rel="item", </b>; rel="item"'))
    assert recorded(linked) == (("link", '</a?token=REDACTED>; rel="item", </b>; rel="item"'),)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("Tue, 24 Nov 2026 12:01:40 GMT", 100),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
        ("999999999", 86_400),
        ("soon", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after((("retry-after", value),), NOW) == seconds


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass(status: int) -> None:
    assert isinstance(status_error(status, (), "https://example.org"), Retryable)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "upstream-closed"),
        (403, "upstream-closed"),
        (404, "upstream-not-found"),
        (410, "upstream-deleted"),
        (418, "upstream-refused"),
    ],
)
def test_what_will_not_pass(status: int, code: str) -> None:
    error = status_error(status, (("retry-after", "5"),), "https://example.org")
    assert isinstance(error, Rejected)
    assert error.code == code


class Answers:
    """A network that answers every request alike, or raises."""

    def __init__(self, status: int = 200, body: bytes = b"", error: Exception | None = None, **headers: str) -> None:
        self._answer = (status, body, headers)
        self._error = error
        self.asked: list[str] = []

    def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Exchange:
        self.asked.append(method)
        if self._error is not None:
            raise self._error
        return exchange(*self._answer)

    def close(self) -> None:
        return


def client(answers: Answers) -> HttpClient:
    return HttpClient(REACH, user_agent="tests", network=answers, sleep=lambda _: None)


def test_only_safe_requests_are_tried_again() -> None:
    answers = Answers(500)
    with client(answers) as http:
        with pytest.raises(UpstreamUnavailable):
            http.read("POST", "https://example.org/")
        with pytest.raises(UpstreamUnavailable):
            http.get("https://example.org/")
    assert answers.asked == ["POST", "GET", "GET", "GET"]


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), BadStatusLine("x")])
def test_a_connection_that_fails_is_unavailable(error: Exception) -> None:
    with client(Answers(error=error)) as http, pytest.raises(UpstreamUnavailable):
        http.get("https://example.org/")


def test_a_body_has_a_limit() -> None:
    with client(Answers(body=bytes(2000))) as http, pytest.raises(UpstreamRefused) as caught:
        http.get("https://example.org/", body_bytes=1000)
    assert caught.value.code == "upstream-too-large"


@pytest.mark.parametrize("target", ["http://example.org/", "https://elsewhere.org/", "gopher://example.org/"])
def test_redirects_stay_on_the_list_and_on_tls(target: str) -> None:
    with client(Answers(302, location=target)) as http, pytest.raises((UpstreamRefused, DestinationRefused)):
        http.get("https://example.org/")


def test_a_redirect_can_be_looked_at() -> None:
    with client(Answers(302, location="https://elsewhere.org/")) as http:
        assert http.get("https://example.org/", follow=False).header("location") == "https://elsewhere.org/"
