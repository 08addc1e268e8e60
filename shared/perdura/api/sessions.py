"""Sign-in of people: a signed cookie, and a token in every form that changes something.

The cookie carries the name of the principal and a nonce, signed with a key derived from the administrator's token:
changing that token signs everybody out. It is HttpOnly and SameSite=Strict; the CSRF token is a MAC of its nonce.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Request, Response
from itsdangerous import BadData, URLSafeTimedSerializer

from perdura.api.problems import Problem
from perdura.settings import Settings

COOKIE = "perdura_session"
LIFETIME_SECONDS = 12 * 3600
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in: who, and the nonce that its CSRF token is made from."""

    name: str
    nonce: str


def _key(settings: Settings) -> bytes | None:
    if settings.admin_token is None or not settings.admin_token.get_secret_value():
        return None
    return hashlib.sha256(b"perdura session\0" + settings.admin_token.get_secret_value().encode()).digest()


def _serializer(key: bytes) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(key, salt="session", signer_kwargs={"digest_method": hashlib.sha256})


def session_of(request: Request, settings: Settings) -> Session | None:
    """The session of the request's cookie; None when there is none, or it is forged or too old."""
    key, cookie = _key(settings), request.cookies.get(COOKIE)
    if key is None or not cookie:
        return None
    try:
        name, nonce = _serializer(key).loads(cookie, max_age=LIFETIME_SECONDS)
    except (BadData, ValueError, TypeError):
        return None
    return Session(name=str(name), nonce=str(nonce))


def begin(response: Response, name: str, settings: Settings) -> None:
    """Sign `name` in by a new cookie on the response."""
    key = _key(settings)
    if key is None:
        raise Problem(403, "Signing in is not set up here.", "no-sign-in")
    response.set_cookie(
        COOKIE,
        _serializer(key).dumps([name, secrets.token_urlsafe(16)]),
        max_age=LIFETIME_SECONDS,
        httponly=True,
        secure=settings.base_url.startswith("https://"),
        samesite="Strict",
        path="/",
    )


def end(response: Response, settings: Settings) -> None:
    """Sign out."""
    response.delete_cookie(
        COOKIE, httponly=True, secure=settings.base_url.startswith("https://"), samesite="Strict", path="/"
    )


def csrf_token(session: Session, settings: Settings) -> str:
    """The token that the forms of this session carry."""
    key = _key(settings) or b""
    return hmac.new(key, b"csrf\0" + session.nonce.encode(), hashlib.sha256).hexdigest()


def check_csrf(request: Request, session: Session, settings: Settings, presented: str | None) -> None:
    """Raise a 403 unless a changing request of a session comes from one of our own pages."""
    if request.method in SAFE_METHODS:
        return
    check_origin(request, settings)
    expected = csrf_token(session, settings)
    if not hmac.compare_digest((presented or "").encode(), expected.encode()):
        raise Problem(403, "The form is out of date. Load its page again and repeat.", "csrf")


def check_origin(request: Request, settings: Settings) -> None:
    """Raise a 403 when the browser says that the request began on another site."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    own = {_origin(settings.base_url), f"{request.scheme}://{request.host}"}
    if origin not in own:
        raise Problem(403, "The request began on another site.", "cross-site")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
