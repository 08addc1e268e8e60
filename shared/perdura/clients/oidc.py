"""OpenID Connect: finds a provider by discovery, signs people in by code and PKCE, reads the tokens of programs.

OpenID Connect Core 1.0 §3.1, Discovery 1.0 §4, RFC 7636 (PKCE), RFC 9207 (`iss` of the answer), RFC 9068 (access
tokens). Signatures and claims are checked by joserfc; only asymmetric algorithms are accepted, so that no secret of
ours can be taken for a key of theirs.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from perdura.clients.http import Answer, HttpClient, Limits
from perdura.clients.reach import Reach
from perdura.errors import Broken, Rejected, UpstreamUnavailable
from perdura.settings import Settings

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY_SECONDS = 60
DISCOVERY_SECONDS = 3600.0
KEYS_SECONDS = 600.0
UNKNOWN_KEY_SECONDS = 30.0
"""How soon the keys are fetched again for a token that names an unknown one: what strangers send costs no more."""

AWAY_SECONDS = 10.0
"""For how long a provider that could not be reached is not asked for its keys again."""
TURN_SECONDS = 1.0
"""How long a request waits while another one fetches the keys: strangers cannot hold all threads with tokens."""

_LIMITS = Limits(connect_seconds=5, read_seconds=10, total_seconds=15, body_bytes=2**20, redirects=0, attempts=2)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class SignInRefused(Rejected):
    """The provider, or a token that is said to be its own, does not prove who somebody is."""

    code = "sign-in-refused"


@dataclass(frozen=True, slots=True)
class Registration:
    """Us as the provider knows us, and what we accept of it."""

    issuer: str
    client_id: str
    secret: str | None = field(repr=False)
    scopes: str
    audience: str | None


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    authentication: frozenset[str]
    """Ways to show a client secret at the token endpoint."""


class Provider:
    """An identity provider, as this process knows it. Safe to use from several threads."""

    def __init__(self, registration: Registration) -> None:
        self._us = registration
        self._issuer = registration.issuer
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._fetching = threading.Lock()
        self._away_until = 0.0

    def metadata(self) -> Metadata:
        """What discovery says; raises Broken when it does not fit the configuration, UpstreamUnavailable."""
        if self._metadata is None or time.monotonic() - self._metadata[0] > DISCOVERY_SECONDS:
            url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            found = _metadata(self._issuer, _object(self._ask("GET", url), "discovery"))
            self._metadata = (time.monotonic(), found)
        return self._metadata[1]

    def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where to send somebody to sign in."""
        endpoint = self.metadata().authorization_endpoint
        parameters = {
            "response_type": "code",
            "client_id": self._us.client_id,
            "redirect_uri": redirect_uri,
            "scope": self._us.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(parameters)}"

    def exchange(self, code: str, *, redirect_uri: str, verifier: str, nonce: str) -> Mapping[str, Any]:
        """The claims about who has signed in: of the ID token, completed by userinfo. Raises SignInRefused."""
        metadata = self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        secret = self._us.secret
        if secret is None or "client_secret_basic" not in metadata.authentication:
            form["client_id"] = self._us.client_id
        if secret is not None and "client_secret_basic" in metadata.authentication:
            pair = f"{quote(self._us.client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif secret is not None:
            form["client_secret"] = secret
        answer = self._ask("POST", metadata.token_endpoint, headers, urlencode(form).encode())
        tokens = _object(answer, "sign-in")
        claims = self._claims(tokens.get("id_token"), audience=self._us.client_id)
        if claims.get("nonce") != nonce:
            raise SignInRefused("The sign-in does not belong to this browser. Begin again.")
        if claims.get("azp", self._us.client_id) != self._us.client_id:
            raise SignInRefused("The identity provider signed somebody in to another application.")
        return self._completed(claims, tokens.get("access_token"))

    def access_claims(self, token: str) -> Mapping[str, Any]:
        """The claims of an access token (JWT) that a program sends; raises SignInRefused."""
        if self._us.audience is None:
            raise SignInRefused("Access tokens of the identity provider are not accepted here.")
        return self._claims(token, audience=self._us.audience)

    def _claims(self, token: object, *, audience: str) -> dict[str, Any]:
        if not isinstance(token, str):
            raise SignInRefused("The identity provider sent no ID token.")
        # joserfc takes 0.1 s to import: only an installation with an identity provider pays.
        from joserfc import jwt
        from joserfc.errors import JoseError

        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            read = jwt.decode(token, lambda guest: self._key_set(guest.headers().get("kid")), algorithms=ALGORITHMS)
            registry.validate(read.claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise SignInRefused(f"The token is not valid ({type(error).__name__}).") from None
        return dict(read.claims)

    def _key_set(self, wanted: object) -> KeySet:
        known = self._known_keys(wanted)
        if known is not None:
            return known
        with self._fetcher():
            return self._known_keys(wanted) or self._fetch_keys()

    def _known_keys(self, wanted: object) -> KeySet | None:
        """The keys, unless they are old, or fetched so long ago that the wanted one may have come since."""
        if self._keys is None:
            return None
        age = time.monotonic() - self._keys[0]
        if age > KEYS_SECONDS:
            return None
        named = wanted is None or wanted in {key.kid for key in self._keys[1].keys}
        return self._keys[1] if named or age <= UNKNOWN_KEY_SECONDS else None

    @contextmanager
    def _fetcher(self) -> Iterator[None]:
        """Lets one request at a time ask the provider, and for a while none after it could not be reached."""
        away = UpstreamUnavailable("The identity provider does not answer.", retry_after=AWAY_SECONDS)
        if time.monotonic() < self._away_until or not self._fetching.acquire(timeout=TURN_SECONDS):
            raise away
        try:
            yield
        except UpstreamUnavailable:
            self._away_until = time.monotonic() + AWAY_SECONDS
            raise
        finally:
            self._fetching.release()

    def _fetch_keys(self) -> KeySet:
        from joserfc.jwk import KeySet

        document = _object(self._ask("GET", self.metadata().jwks_uri), "key")
        keys = [key for key in document.get("keys", ()) if isinstance(key, dict) and key.get("use", "sig") == "sig"]
        fetched = KeySet.import_key_set({"keys": keys})
        self._keys = (time.monotonic(), fetched)
        return fetched

    def _completed(self, claims: dict[str, Any], access_token: object) -> Mapping[str, Any]:
        """The claims with what only userinfo says; its subject has to be the same (Core §5.3.2)."""
        endpoint = self.metadata().userinfo_endpoint
        if endpoint is None or not isinstance(access_token, str):
            return claims
        answer = self._ask("GET", endpoint, {"Authorization": f"Bearer {access_token}"})
        if answer.status != 200:
            return claims
        said = _object(answer, "userinfo")
        if said.get("sub") != claims["sub"]:
            raise SignInRefused("The identity provider speaks of two different people.")
        return {**said, **claims}

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
            raise Broken(f"The identity provider is asked over https only, not at {parts.scheme}://{host}.")
        reach = Reach(frozenset({host}), allow_loopback=True, allow_private=True)
        with HttpClient(reach, user_agent="perdura", limits=_LIMITS, connections=1) as client:
            return client.read(method, url, headers=headers, content=content)


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _object(answer: Answer, what: str) -> dict[str, Any]:
    """The JSON object of an answer; raises SignInRefused for anything else."""
    if answer.status != 200:
        raise SignInRefused(f"The identity provider refused the {what} request ({answer.status}).")
    found = answer.json()
    if not isinstance(found, dict):
        raise SignInRefused(f"The identity provider's answer to the {what} request is no object.")
    return found


def _metadata(issuer: str, said: Mapping[str, Any]) -> Metadata:
    if said.get("issuer") != issuer:
        raise Broken(f"PERDURA_OIDC_ISSUER is {issuer}, but the provider calls itself {str(said.get('issuer'))[:200]}.")
    try:
        return Metadata(
            issuer=issuer,
            authorization_endpoint=str(said["authorization_endpoint"]),
            token_endpoint=str(said["token_endpoint"]),
            jwks_uri=str(said["jwks_uri"]),
            userinfo_endpoint=said.get("userinfo_endpoint"),
            end_session_endpoint=said.get("end_session_endpoint"),
            authentication=frozenset(said.get("token_endpoint_auth_methods_supported") or ("client_secret_basic",)),
        )
    except (KeyError, TypeError) as error:
        raise Broken(f"The identity provider's discovery lacks {error}.") from None


def provider(settings: Settings) -> Provider:
    """The configured provider, one for the process; raises Broken when there is none."""
    if not settings.oidc_issuer:
        raise Broken("No identity provider is configured: PERDURA_OIDC_ISSUER is not set.")
    secret = settings.oidc_client_secret
    return _provider(
        Registration(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            secret=secret.get_secret_value() if secret else None,
            scopes=settings.oidc_scopes,
            audience=settings.oidc_audience,
        )
    )


@cache
def _provider(registration: Registration) -> Provider:
    return Provider(registration)
