"""Bearer tokens for FTS and the tape endpoint: a fixed one, or by OAuth 2.0 client credentials (RFC 6749 4.4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import httpx

from perdura.clients import bounded
from perdura.errors import Broken, UpstreamUnavailable
from perdura.settings import Settings

EARLY = 60.0
"""Seconds before its end at which a token is no longer used."""
UNKNOWN_LIFETIME = 300.0
BODY_LIMIT = 1 << 20


class ClientCredentials:
    """Tokens of one client, asked for when there is none that lasts. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        client: str,
        secret: str,
        *,
        scope: str = "",
        audience: str = "",
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._credentials = url, (client, secret)
        self._wanted = {"grant_type": "client_credentials", "scope": scope, "audience": audience}
        self._client = httpx.Client(
            headers={"Accept-Encoding": "identity"},
            timeout=15.0,
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )
        self._clock, self._lock = clock, threading.Lock()
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        """A token that lasts; raises UpstreamUnavailable, or Broken when the issuer refuses."""
        with self._lock:
            if self._clock() >= self._until:
                self._token, lifetime = self._asked()
                self._until = self._clock() + max(lifetime - EARLY, lifetime / 2)
            return self._token

    def _asked(self) -> tuple[str, float]:
        wanted = {name: value for name, value in self._wanted.items() if value}
        try:
            answer = bounded.ask(self._client, "POST", self._url, most=BODY_LIMIT, data=wanted, auth=self._credentials)
        except httpx.HTTPError as error:
            message = f"the token issuer did not answer: {type(error).__name__}"
            raise UpstreamUnavailable(message, code="tape-token-unavailable") from error
        if answer.status_code >= 500:
            raise UpstreamUnavailable(f"the token issuer answered {answer.status_code}", code="tape-token-unavailable")
        try:
            document = answer.json()
        except ValueError:
            document = {}
        if answer.status_code != 200 or not isinstance(document, dict) or not document.get("access_token"):
            said = document.get("error") if isinstance(document, dict) else None
            message = f"the token issuer refuses: {answer.status_code} {str(said or '')[:100]}".rstrip()
            raise Broken(message, code="tape-token-refused")
        return str(document["access_token"]), float(document.get("expires_in") or UNKNOWN_LIFETIME)


def token_source(settings: Settings) -> Callable[[], str] | None:
    """What gives the bearer token that the settings name; None for certificates. Raises Broken for half of it."""
    if settings.tape_token is not None:
        fixed = settings.tape_token.get_secret_value()
        return lambda: fixed
    if settings.tape_token_url is None:
        return None
    if not settings.tape_client_id or settings.tape_client_secret is None:
        message = "PERDURA_TAPE_TOKEN_URL is set, PERDURA_TAPE_CLIENT_ID or PERDURA_TAPE_CLIENT_SECRET is not"
        raise Broken(message, code="tape-configuration")
    if not settings.tape_token_url.startswith("https://"):
        raise Broken("PERDURA_TAPE_TOKEN_URL has to be an https:// address", code="tape-configuration")
    return ClientCredentials(
        settings.tape_token_url,
        settings.tape_client_id,
        settings.tape_client_secret.get_secret_value(),
        scope=settings.tape_token_scope,
        audience=settings.tape_token_audience,
    )
