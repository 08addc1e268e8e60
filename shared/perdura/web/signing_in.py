"""Signing in at the identity provider, or with the administrator's token where there is none; and out."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Response

from perdura.accounts import directory, signing_in
from perdura.accounts import sessions as kept
from perdura.accounts.claims import identity_of
from perdura.accounts.principals import LOCAL_ADMINISTRATOR, administrator, is_admin_token, local_sign_in
from perdura.api import sessions
from perdura.api.problems import not_found
from perdura.api.sessions import cookie_name
from perdura.clients import oidc
from perdura.clients.oidc import SignInRefused
from perdura.settings import Settings
from perdura.web.language import translate
from perdura.web.visit import Visit, own_path, see_other

_COOKIE = "perdura_sign_in"
_LONGEST = 4096


def ask(visit: Visit) -> Response:
    """The sign-in page."""
    return _form(visit, own_path(visit.request.args.get("next", "/")))


def sign_in(visit: Visit) -> Response:
    """Check the administrator's token; a right one is answered by a session and the page that was wanted."""
    sessions.check_origin(visit.request, visit.services.settings)
    fields = visit.form(("token", "next"))
    target = own_path(fields["next"])
    if not is_admin_token(fields["token"], visit.services.settings):
        return _form(visit, target, problem=translate("This is not the right token."))
    visit.principal = administrator("session")
    response = see_other(target)
    session = kept.begin(visit.connection, LOCAL_ADMINISTRATOR)
    sessions.renew(response, session, visit.services.settings)
    return response


def start(visit: Visit) -> Response:
    """Send the browser to the identity provider; a 404 where there is none."""
    settings = visit.services.settings
    if not settings.oidc_issuer:
        raise not_found("page")
    provider = oidc.provider(settings)
    provider.metadata()
    begun = signing_in.begin(visit.connection, own_path(visit.request.args.get("next", "/")))
    response = see_other(
        provider.authorization_url(
            redirect_uri=_callback(settings), state=begun.state, nonce=begun.nonce, verifier=begun.verifier
        )
    )
    response.set_cookie(
        cookie_name(settings, _COOKIE),
        begun.cookie,
        max_age=round(signing_in.LIFETIME.total_seconds()),
        httponly=True,
        secure=settings.base_url.startswith("https://"),
        samesite="Lax",
        path="/",
    )
    return response


def callback(visit: Visit) -> Response:
    """Come back from the identity provider: check what it says, begin a session, go on to the page that was wanted."""
    visit.audited = True
    settings = visit.services.settings
    sent = {name: visit.request.args.get(name, "")[:_LONGEST] for name in ("state", "code", "error", "iss")}
    cookie = visit.request.cookies.get(cookie_name(settings, _COOKIE), "")[:_LONGEST]
    with visit.services.engine.begin() as connection:  # no transaction waits for the provider's answer
        returned = signing_in.finish(connection, sent["state"], cookie)
    if returned is None:
        return _form(
            visit, "/", problem=translate("This sign-in was not begun in this browser, or too long ago. Begin again.")
        )
    if sent["error"] or not sent["code"]:
        return _form(visit, returned.target, problem=translate("The identity provider did not sign you in."))
    if sent["iss"] and sent["iss"] != settings.oidc_issuer:
        return _form(visit, returned.target, problem=translate("Another identity provider answered."))
    try:
        claims = oidc.provider(settings).exchange(
            sent["code"], redirect_uri=_callback(settings), verifier=returned.verifier, nonce=returned.nonce
        )
    except SignInRefused as refused:
        visit.detail["reason"] = refused.code
        return _form(visit, returned.target, problem=refused.message)
    account = directory.sign_in(visit.connection, identity_of(claims, settings, kind="person"))
    visit.principal = directory.principal_of(account, "session")
    if account.disabled_at is not None:
        return _form(visit, returned.target, problem=translate("Your account is shut. Ask an administrator."))
    response = see_other(returned.target)
    if visit.session is not None:
        kept.end(visit.connection, visit.session.id)
    sessions.renew(response, kept.begin(visit.connection, account.id), settings)
    response.delete_cookie(cookie_name(settings, _COOKIE), path="/")
    return response


def sign_out(visit: Visit) -> Response:
    """End the session."""
    visit.form(())
    if visit.session is not None:
        kept.end(visit.connection, visit.session.id)
    response = see_other("/signed-out" if visit.services.settings.oidc_issuer else "/sign-in")
    sessions.clear_cookie(response, visit.services.settings)
    return response


def signed_out(visit: Visit) -> Response:
    """Say that the session is over, and where to sign out at the identity provider too."""
    settings = visit.services.settings
    elsewhere = None
    if settings.oidc_issuer:
        end = oidc.provider(settings).metadata().end_session_endpoint
        query = {"client_id": settings.oidc_client_id, "post_logout_redirect_uri": f"{_base(settings)}/sign-in"}
        elsewhere = f"{end}?{urlencode(query)}" if end else None
    return visit.page("signed_out.html", elsewhere=elsewhere, provider=settings.oidc_name)


def _base(settings: Settings) -> str:
    return settings.base_url.rstrip("/")


def _callback(settings: Settings) -> str:
    return f"{_base(settings)}/sign-in/callback"


def _form(visit: Visit, target: str, *, problem: str = "") -> Response:
    settings = visit.services.settings
    return visit.page(
        "sign_in.html",
        status=403 if problem else 200,
        target=target,
        problem=problem,
        provider=settings.oidc_name if settings.oidc_issuer else None,
        local=local_sign_in(settings),
        start="/sign-in/start" + (f"?{urlencode({'next': target})}" if target != "/" else ""),
    )
