"""Signing in with the administrator's token, and out."""

from __future__ import annotations

from flask import Response

from perdura.api import sessions
from perdura.api.principals import is_admin_token
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
    sessions.begin(response, "administrator", visit.services.settings)
    return response


def sign_out(visit: Visit) -> Response:
    """End the session."""
    visit.form(())
    response = see_other("/sign-in")
    sessions.end(response, visit.services.settings)
    return response


def _form(visit: Visit, target: str, *, wrong: bool = False) -> Response:
    possible = visit.services.settings.admin_token is not None
    return visit.page("sign_in.html", status=403 if wrong else 200, target=target, wrong=wrong, possible=possible)
