"""One's own account: who one is here, what one may do, and one's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from flask import Response

from perdura.accounts import tokens
from perdura.accounts.principals import Permission
from perdura.api.models.accounts import TokenRequest
from perdura.api.problems import Problem
from perdura.api.resources import users
from perdura.web.query_string import checked
from perdura.web.visit import Visit, see_other

LIVES = (7, 30, 90, 366)
"""Lives of a token that the form offers, in days."""


def show(visit: Visit) -> Response:
    """The page of the account."""
    visit.require(Permission.SELF)
    return _page(visit)


def make_token(visit: Visit) -> Response:
    """Make a token and show its secret, this once."""
    visit.require(Permission.SELF)
    fields = visit.form(("name", "days"))
    wanted = {**fields, "scopes": visit.request.form.getlist("scope")}
    try:
        row, secret = users.issue_token(visit, checked(TokenRequest, wanted))
    except Problem as problem:
        return _page(visit, problem=problem, sent=wanted)
    return _page(visit, made=row.name, secret=secret)


def end_token(visit: Visit, token_id: UUID) -> Response:
    """End a token of one's own."""
    visit.require(Permission.SELF)
    visit.form(())
    users.revoke_token(visit, users.own_account(visit), token_id)
    return see_other("/account")


def _page(
    visit: Visit,
    *,
    problem: Problem | None = None,
    sent: Mapping[str, object] | None = None,
    made: str = "",
    secret: str = "",
) -> Response:
    longest = visit.services.settings.token_days
    return visit.page(
        "account.html",
        status=problem.status if problem is not None else 200,
        tokens=tokens.of_account(visit.connection, users.own_account(visit)),
        scopes=sorted(visit.principal.permissions),
        lives=[days for days in LIVES if days <= longest] or [longest],
        problem=problem,
        sent=sent or {"name": "", "days": "90", "scopes": [Permission.READ.value]},
        made=made,
        secret=secret,
    )
