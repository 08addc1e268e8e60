"""Tokens by client credentials: asked for once while they last, never shown."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from perdura.clients.tape_oauth import ClientCredentials, token_source
from perdura.errors import Broken, UpstreamUnavailable
from perdura.settings import Settings


class Issuer:
    """An issuer of tokens that counts."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.asked: list[httpx.Request] = []
        self.answers = list(answers)
        self.now = 0.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.answers:
            return self.answers.pop(0)
        return httpx.Response(200, json={"access_token": f"token-{len(self.asked)}", "expires_in": 600})

    def tokens(self, **more: Any) -> ClientCredentials:
        transport = httpx.MockTransport(self.answer)
        return ClientCredentials(
            "https://issuer/token", "perdura", "hidden", transport=transport, clock=lambda: self.now, **more
        )


def test_a_token_is_asked_for_with_the_clients_own_credentials() -> None:
    issuer = Issuer()
    assert issuer.tokens(scope="fts storage.read:/", audience="https://fts")() == "token-1"
    (asked,) = issuer.asked
    assert parse_qs(asked.content.decode()) == {
        "grant_type": ["client_credentials"], "scope": ["fts storage.read:/"], "audience": ["https://fts"],
    }  # fmt: skip
    assert asked.headers["Authorization"] == "Basic " + base64.b64encode(b"perdura:hidden").decode()


def test_a_token_is_used_until_shortly_before_its_end() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    assert [tokens(), tokens()] == ["token-1", "token-1"]
    issuer.now = 541
    assert tokens() == "token-2"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(503), UpstreamUnavailable),
        (httpx.Response(401, json={"error": "invalid_client"}), Broken),
        (httpx.Response(302, headers={"Location": "http://elsewhere"}), Broken),
        (httpx.Response(200, content=b"<html>"), Broken),
        (httpx.Response(200, json=["no", "object"]), Broken),
    ],
)
def test_an_issuer_that_gives_no_token_is_told_apart(answer: httpx.Response, error: type[Exception]) -> None:
    issuer = Issuer(answer)
    with pytest.raises(error) as raised:
        issuer.tokens()()
    assert "hidden" not in str(raised.value)


def test_half_a_configuration_is_refused() -> None:
    assert token_source(Settings()) is None
    assert (token_source(Settings(tape_token="fixed")) or str)() == "fixed"
    for settings in (
        Settings(tape_token_url="https://issuer/token"),
        Settings(tape_token_url="http://issuer/token", tape_client_id="a", tape_client_secret="b"),
    ):
        with pytest.raises(Broken):
            token_source(settings)
