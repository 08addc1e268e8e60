"""The cookie of a signed-in browser, and the token in every form of theirs that changes something.

The cookie is HttpOnly and SameSite=Lax: Strict would be held back on the way from the identity provider. That a change
was asked for by one of our own pages is proven by the token, and by the Origin that browsers send.
"""

from __future__ import annotations

from hmac import compare_digest
from urllib.parse import urlsplit

from flask import Request
from werkzeug.wrappers import Response

from perdura.accounts.sessions import Session
from perdura.api.problems import Problem
from perdura.settings import Settings

CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def cookie_name(settings: Settings, name: str = "perdura_session") -> str:
    """The name of a cookie; over TLS its prefix keeps other hosts of the domain from setting it (RFC 6265bis 4.1.3)."""
    return f"__Host-{name}" if _is_secure(settings) else name


def set_cookie(response: Response, value: str, settings: Settings) -> None:
    """Let the browser keep the session's cookie."""
    response.set_cookie(
        cookie_name(settings),
        value,
        max_age=round(settings.session_hours * 3600),
        httponly=True,
        secure=_is_secure(settings),
        samesite="Lax",
        path="/",
    )


def clear_cookie(response: Response, settings: Settings) -> None:
    """Let the browser forget the session."""
    response.delete_cookie(cookie_name(settings), httponly=True, secure=_is_secure(settings), samesite="Lax", path="/")


def renew(response: Response, session: Session | None, settings: Settings) -> None:
    """Send the renewed cookie, if the session has one."""
    if session is not None and session.cookie is not None:
        set_cookie(response, session.cookie, settings)


def check_csrf(request: Request, session: Session, settings: Settings, presented: str | None) -> None:
    """Raise a 403 unless a changing request of a session comes from one of our own pages."""
    if request.method in SAFE_METHODS:
        return
    check_origin(request, settings)
    if not compare_digest((presented or "").encode("utf-8", "replace"), session.csrf.encode()):
        raise Problem(403, "The form is out of date. Load its page again and repeat.", "csrf")


def check_origin(request: Request, settings: Settings) -> None:
    """Raise a 403 when the browser says that the request began on another site."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    own = {_origin(settings.base_url), f"{request.scheme}://{request.host}"}
    if origin not in own:
        raise Problem(403, "The request began on another site.", "cross-site")


def _is_secure(settings: Settings) -> bool:
    return settings.base_url.startswith("https://")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
