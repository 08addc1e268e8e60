"""Finds out who is asking: a token in the Authorization header, or the cookie of a signed-in person."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from flask import Request

from perdura.accounts import audit, directory, tokens
from perdura.accounts import sessions as kept
from perdura.accounts.audit import DENIED, Act
from perdura.accounts.claims import identity_of
from perdura.accounts.credentials import TOKEN_PREFIX
from perdura.accounts.principals import ANONYMOUS, Permission, Principal, administrator, is_admin_token
from perdura.accounts.sessions import Session
from perdura.api import limits
from perdura.api.addresses import address_of
from perdura.api.problems import Problem
from perdura.api.services import Services
from perdura.api.sessions import CSRF_HEADER, check_csrf, cookie_name
from perdura.clients import oidc
from perdura.errors import UpstreamUnavailable

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="perdura"'}
_LONGEST_TOKEN = 8192
_log = logging.getLogger("perdura.accounts")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the session of a browser if there is one."""

    principal: Principal
    session: Session | None = None


STRANGER = Caller(ANONYMOUS)


def caller_of(request: Request, services: Services) -> Caller:
    """The caller; wrong credentials are refused with 401 instead of being taken for none, and many with 429."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        principal, address = None, address_of(request, services.settings)
        try:
            if scheme.lower() == "bearer":
                principal = holder_of(credentials.strip(), services, address)
        except UpstreamUnavailable:
            limits.spend(ANONYMOUS, address, services)
            raise
        if principal is None:
            limits.spend(ANONYMOUS, address, services)
            raise Problem(401, "The token is not valid.", "invalid-token", headers=_CHALLENGE)
        return Caller(principal)
    cookie = request.cookies.get(cookie_name(services.settings))
    if not cookie:
        return STRANGER
    with services.engine.begin() as connection:
        found = kept.find(connection, cookie, services.settings)
        if found.copied and found.principal is not None:
            _log.warning("a session was ended: its cookie was used twice", extra={"who": found.principal.name})
            address, reason = address_of(request, services.settings), {"reason": "cookie-copied"}
            act = Act("end_copied_session", DENIED, request.method, request.path, 401, (), reason, address)
            audit.record(connection, found.principal, act)
    if found.session is None or found.principal is None:
        return STRANGER
    return Caller(found.principal, found.session)


def holder_of(token: str, services: Services, address: str | None = None) -> Principal | None:
    """Who holds a bearer token: personal, of the identity provider, or the administrator's; None if it is not good.

    Raises UpstreamUnavailable when the provider's keys are needed and cannot be had.
    """
    if len(token) > _LONGEST_TOKEN:
        return None
    if token.startswith(TOKEN_PREFIX):
        with services.engine.begin() as connection:
            return tokens.holder(connection, token, address, services.settings)
    if is_admin_token(token, services.settings):
        return administrator("token")
    if services.settings.oidc_issuer and token.count(".") == 2:
        return _service(token, services)
    return None


def _service(token: str, services: Services) -> Principal | None:
    """The program, or the person behind one, whom an access token of the identity provider names."""
    try:
        claims = oidc.provider(services.settings).access_claims(token)
    except oidc.SignInRefused:
        return None
    identity = identity_of(claims, services.settings, kind="service")
    with services.engine.begin() as connection:
        account = directory.recall(connection, identity)
    return None if account.disabled_at is not None else directory.principal_of(account, "service")


def check_session(request: Request, caller: Caller, services: Services) -> None:
    """Raise a 403 where a browser's session asks the API for a change without its CSRF token in a header."""
    if caller.session is not None:
        check_csrf(request, caller.session, services.settings, request.headers.get(CSRF_HEADER))


def check_permission(principal: Principal, permission: Permission | None) -> None:
    """Raise a 401 for a stranger, a 403 for anybody else who does not hold the permission."""
    if permission is None or principal.may(permission):
        return
    if principal.means == "nothing":
        raise Problem(401, "Send `Authorization: Bearer <token>`.", "unauthenticated", headers=_CHALLENGE)
    raise Problem(403, f"This needs the permission {permission.value!r}.", "forbidden")
