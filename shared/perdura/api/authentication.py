"""Finds out who is asking: a bearer token, or the cookie of a signed-in person."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Request

from perdura.api.principals import ANONYMOUS, Principal, administrator, is_admin_token
from perdura.api.problems import Problem
from perdura.api.sessions import CSRF_HEADER, Session, check_csrf, session_of
from perdura.settings import Settings

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="perdura"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the session of a browser if there is one."""

    principal: Principal
    session: Session | None = None


def caller_of(request: Request, settings: Settings) -> Caller:
    """The caller; a wrong token is refused with 401 instead of being taken for no token."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        if scheme.lower() == "bearer" and is_admin_token(credentials.strip(), settings):
            return Caller(administrator("token"))
        raise Problem(401, "The token is not valid.", "invalid-token", headers=_CHALLENGE)
    session = session_of(request, settings)
    if session is None:
        return Caller(ANONYMOUS)
    return Caller(administrator("session"), session)


def api_caller(request: Request, settings: Settings) -> Principal:
    """The caller of an API operation; a browser's session needs its CSRF token in a header to change anything."""
    caller = caller_of(request, settings)
    if caller.session is not None:
        check_csrf(request, caller.session, settings, request.headers.get(CSRF_HEADER))
    return caller.principal


def unauthenticated() -> Problem:
    """The 401 for a caller who has not said who he is."""
    return Problem(401, "Send `Authorization: Bearer <token>`.", "unauthenticated", headers=_CHALLENGE)
