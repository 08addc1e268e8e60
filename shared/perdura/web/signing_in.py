"""Signing in with the administrator's token, and out."""

from __future__ import annotations

from flask import Response

from perdura.accounts import sessions as kept
from perdura.accounts.principals import LOCAL_ADMINISTRATOR, is_admin_token, local_sign_in
from perdura.api import sessions
from perdura.web.visit import Visit, own_path, see_other


def ask(visit: Visit) -> Response:
    """The sign-in page."""
    return _form(visit, own_path(visit.request.args.get("next", "/")))


def sign_in(visit: Visit) -> Response:
    """Check the token; a right one is answered by a session and the page that was wanted."""
    sessions.check_origin(visit.request, visit.services.settings)
    fields = visit.form(("token", "next"))
    target = own_path(fields["next"])
    if not is_admin_token(fields["token"], visit.services.settings):
        return _form(visit, target, wrong=True)
    response = see_other(target)
    session = kept.begin(visit.connection, LOCAL_ADMINISTRATOR)
    sessions.renew(response, session, visit.services.settings)
    return response


def sign_out(visit: Visit) -> Response:
    """End the session."""
    visit.form(())
    if visit.session is not None:
        kept.end(visit.connection, visit.session.id)
    response = see_other("/sign-in")
    sessions.clear_cookie(response, visit.services.settings)
    return response


def _form(visit: Visit, target: str, *, wrong: bool = False) -> Response:
    possible = local_sign_in(visit.services.settings)
    return visit.page("sign_in.html", status=403 if wrong else 200, target=target, wrong=wrong, possible=possible)
