"""One's own subscriptions: what one wants to hear of, and how telling it goes."""

from __future__ import annotations

from uuid import UUID

from flask import Response
from pydantic import ValidationError

from perdura.accounts.principals import Permission
from perdura.api.models.subscriptions import SubscriptionRequest
from perdura.api.problems import invalid, not_found
from perdura.api.queries import collections
from perdura.api.resources import subscriptions
from perdura.web.language import marked, translate
from perdura.web.visit import Visit, see_other

KINDS = {
    "failed": marked("Something failed or needs a person"),
    "rejected": marked("A package was rejected"),
    "completed": marked("An Archive is completed"),
    "fixity-failed": marked("A copy is damaged"),
}


def listing(visit: Visit) -> Response:
    """Subscriptions and the form for another."""
    visit.require(Permission.SELF)
    return _page(visit)


def _page(visit: Visit, secret: str | None = None) -> Response:
    return visit.page(
        "notifications.html",
        subscriptions=subscriptions.own(visit),
        kinds=[(kind, translate(words)) for kind, words in KINDS.items()],
        collections=collections.page(visit.connection, visit.principal, limit=200),
        secret=secret,
        mail=visit.services.settings.smtp_host is not None,
    )


def create(visit: Visit) -> Response:
    """Make a subscription; the secret of one that is signed is shown this once."""
    visit.require(Permission.SELF)
    fields = visit.form(("way", "address", "collection", "every_minutes"))
    given = {name: value for name, value in fields.items() if value}
    try:
        wanted = SubscriptionRequest.model_validate({**given, "kinds": visit.request.form.getlist("kinds")})
    except ValidationError as error:
        raise invalid(error, "form") from None
    if wanted.collection is not None and collections.find(visit.connection, visit.principal, wanted.collection) is None:
        raise not_found("collection")
    _, secret = subscriptions.make(visit, wanted)
    return see_other("/notifications") if wanted.way == "email" else _page(visit, secret)


def act(visit: Visit, subscription_id: UUID, act: str) -> Response:
    """Try it out, or end it."""
    visit.require(Permission.SELF)
    visit.form(())
    if act == "test":
        subscriptions.test(visit, subscription_id)
    else:
        subscriptions.end(visit, subscription_id)
    return see_other("/notifications")
