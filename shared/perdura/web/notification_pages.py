"""One's own subscriptions: what one wants to hear of, and how telling it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import naming
from perdura.api.models.subscriptions import SubscriptionRequest
from perdura.api.problems import Problem
from perdura.api.resources import subscriptions
from perdura.web import collection_choice
from perdura.web.language import marked, translate
from perdura.web.query_string import checked
from perdura.web.visit import Visit, see_other

KINDS = {
    "failed": marked("Something failed or needs a person"),
    "rejected": marked("A package was rejected"),
    "completed": marked("An Archive is completed"),
    "fixity-failed": marked("A copy is damaged"),
}
WAYS = {
    "email": marked("By mail"),
    "webhook": marked("Signed webhook"),
    "cloudevents": marked("CloudEvents"),
}
NOTHING = {"way": "", "address": "", "collection": "", "source": "", "every_minutes": ""}
"""The form when nothing was sent yet."""


def listing(visit: Visit) -> Response:
    """Subscriptions and the form for another."""
    visit.require(Permission.SELF)
    return _page(visit)


def _page(
    visit: Visit,
    *,
    secret: str | None = None,
    problem: Problem | None = None,
    sent: Mapping[str, str] = NOTHING,
    chosen: Sequence[str] = ("failed",),
) -> Response:
    mail = visit.services.settings.smtp_host is not None
    return visit.page(
        "notifications.html",
        status=problem.status if problem is not None else 200,
        problem=problem,
        sent=sent,
        chosen=chosen,
        subscriptions=subscriptions.own(visit),
        kinds=[(kind, translate(words)) for kind, words in KINDS.items()],
        named_kinds={kind: translate(words) for kind, words in KINDS.items()},
        ways=[(way, translate(words)) for way, words in WAYS.items() if way != "email" or mail],
        named_ways={way: translate(words) for way, words in WAYS.items()},
        collections=collection_choice.offered(visit),
        secret=secret,
    )


def create(visit: Visit) -> Response:
    """Make a subscription; the secret of one that is signed is shown this once."""
    visit.require(Permission.SELF)
    fields, kinds = visit.form(tuple(NOTHING)), visit.request.form.getlist("kinds")
    try:
        read = {**fields, "collection": collection_choice.chosen(visit, "collection", fields["collection"])}
        wanted = checked(SubscriptionRequest, {**{n: v for n, v in read.items() if v}, "kinds": kinds})
        naming.check(visit.connection, visit.principal, naming.in_model(wanted, "form"))
        _, secret = subscriptions.make(visit, wanted)
    except Problem as problem:
        return _page(visit, problem=problem, sent=fields, chosen=kinds)
    return see_other("/notifications") if wanted.way == "email" else _page(visit, secret=secret)


def act(visit: Visit, subscription_id: UUID, act: str) -> Response:
    """Try it out, or end it."""
    visit.require(Permission.SELF)
    visit.form(())
    if act == "test":
        subscriptions.test(visit, subscription_id)
    else:
        subscriptions.end(visit, subscription_id)
    return see_other("/notifications")
