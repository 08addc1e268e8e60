"""Subscriptions of the caller: made, changed, tried out, ended."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update

from perdura.accounts import directory, rights
from perdura.accounts.principals import Permission, Principal
from perdura.accounts.rights import Thing
from perdura.api import links, naming
from perdura.api.authentication import check_permission
from perdura.api.models.subscriptions import (
    SubscriptionAnswer,
    SubscriptionChange,
    SubscriptionList,
    SubscriptionMade,
    SubscriptionRequest,
)
from perdura.api.operations import Call, Section
from perdura.api.problems import FieldError, Problem, not_found
from perdura.api.queries.rows import AnyRow
from perdura.ids import new_id
from perdura.registry import subscription_secrets
from perdura.registry import subscriptions as registry
from perdura.registry.subscriptions import Subscription

section = Section("Subscriptions")

MOST = 100
"""Subscriptions of one account."""


def answer(row: AnyRow) -> SubscriptionAnswer:
    """A subscription without its secret."""
    base = f"{links.API}/subscriptions/{row.id}"
    return SubscriptionAnswer(
        id=row.id,
        way=row.way,
        address=row.address,
        kinds=row.kinds,
        collection=row.collection_id,
        source=row.source,
        every_minutes=row.every_minutes,
        active=row.active,
        failures=row.failures,
        last_error=row.last_error,
        sent=row.sent_at,
        created=row.created_at,
        links={"self": base, "test": f"{base}/test"},
    )


def own(call: Call) -> list[SubscriptionAnswer]:
    """The caller's subscriptions, oldest first."""
    return [answer(row) for row in _rows(call, call.principal.account)]


def of_user(call: Call, user_id: UUID) -> list[SubscriptionAnswer]:
    """Those of an account, oldest first; a collection is named to who sees it."""
    if directory.find(call.connection, user_id) is None:
        raise not_found("user")
    rows = _rows(call, user_id)
    named = [(Thing.COLLECTION, row.collection_id) for row in rows if row.collection_id is not None]
    seen = {collection for _, collection in rights.visible(call.connection, call.principal, named)}
    found = [answer(row) for row in rows]
    return [
        each if each.collection in {None, *seen} else each.model_copy(update={"collection": None}) for each in found
    ]


def _rows(call: Call, account: UUID | None) -> Sequence[AnyRow]:
    mine = select(Subscription.__table__).where(Subscription.account_id == account)
    return call.connection.execute(mine.order_by(Subscription.created_at).limit(200)).all()


def make(call: Call, body: SubscriptionRequest) -> tuple[UUID, str | None]:
    """Make a subscription of the caller; gives back its id, and its secret where it has one.

    Raises a 403 for who may not read, a 409 when there is no key to keep a secret with, or the caller has too many; a
    422 for somebody else's mailbox: only who may operate can have mail sent elsewhere than to the address that the
    identity provider names.
    """
    _may_be_told(call.principal)
    _bounded(call, body)
    subscription, secret, kept = new_id(), None, ""
    if body.way != "email":
        settings = call.services.settings
        if settings.credential_keys is None:
            raise Problem(409, "No keys are set here with which a secret could be kept.", "no-credential-key")
        secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        kept = subscription_secrets.sealed(settings, subscription, secret)
    call.connection.execute(
        insert(Subscription).values(
            id=subscription,
            account_id=call.principal.account,
            owner=call.principal.name,
            scopes=call.principal.told_scopes,
            way=body.way,
            address=body.address,
            secret=kept,
            kinds=list(body.kinds),
            collection_id=body.collection,
            source=body.source,
            every_minutes=body.every_minutes,
        )
    )
    call.objects.append(subscription)
    call.detail |= {"way": body.way, "address": body.address, "kinds": list(body.kinds)}
    return subscription, secret


def _may_be_told(principal: Principal) -> None:
    """Raise a 403 unless the caller sees what their account sees: that is what a subscription tells of."""
    check_permission(principal, Permission.READ)
    account = replace(principal, scopes=None)
    if account.may(Permission.READ_RESTRICTED):
        check_permission(principal, Permission.READ_RESTRICTED)


def _bounded(call: Call, body: SubscriptionRequest) -> None:
    mine = select(func.count()).select_from(Subscription).where(Subscription.account_id == call.principal.account)
    if call.connection.execute(mine).scalar_one() >= MOST:
        raise Problem(409, f"You have {MOST} subscriptions: end one first.", "too-many-subscriptions")
    if body.way != "email" or call.principal.may(Permission.OPERATE):
        return
    account = directory.find(call.connection, call.principal.account) if call.principal.account else None
    own = (account.email or "") if account is not None else ""
    if body.address.casefold() != own.casefold():
        problem = FieldError("body.address", "not the mail address of your account")
        raise Problem(422, "Mail is sent to your own address only.", "invalid", (problem,))


def find(call: Call, subscription_id: UUID) -> AnyRow:
    """One subscription of the caller; raises a 404 for anybody else's."""
    row = call.connection.execute(
        select(Subscription.__table__).where(
            Subscription.id == subscription_id, Subscription.account_id == call.principal.account
        )
    ).one_or_none()
    if row is None:
        raise naming.missing(call.connection, "subscription", Subscription.id, subscription_id)
    return row


def test(call: Call, subscription_id: UUID) -> None:
    """Have a test sent."""
    find(call, subscription_id)
    event = {"type": "org.perdura.test.v1", "id": str(new_id()), "source": "/perdura/registry", "specversion": "1.0",
             "time": datetime.now(UTC).isoformat()}  # fmt: skip
    registry.try_out(call.connection, subscription_id, event)


def end(call: Call, subscription_id: UUID) -> None:
    """Forget a subscription and what it was still to be told."""
    find(call, subscription_id)
    call.connection.execute(delete(Subscription).where(Subscription.id == subscription_id))


def end_of_user(call: Call, user_id: UUID, subscription_id: UUID) -> None:
    """Forget one of an account; raises a 404."""
    theirs = delete(Subscription).where(Subscription.id == subscription_id, Subscription.account_id == user_id)
    if call.connection.execute(theirs).rowcount == 0:
        raise not_found("subscription")


@section.get("/subscriptions", permission=Permission.SELF)
def list_subscriptions(call: Call) -> SubscriptionList:
    """One's own subscriptions."""
    return SubscriptionList(items=own(call))


@section.get("/users/<uuid:user_id>/subscriptions", permission=Permission.ADMINISTER)
def list_subscriptions_of_user(call: Call, user_id: UUID) -> SubscriptionList:
    """What an account is told of, and where. One that may not be used at present is told nothing."""
    return SubscriptionList(items=of_user(call, user_id))


@section.delete(
    "/users/<uuid:user_id>/subscriptions/<uuid:subscription_id>", permission=Permission.ADMINISTER, status=204
)
def end_subscription_of_user(call: Call, user_id: UUID, subscription_id: UUID) -> None:
    """End a subscription of an account."""
    end_of_user(call, user_id, subscription_id)


@section.post("/subscriptions", permission=Permission.SELF, status=201, confidential=True)
def create_subscription(call: Call, body: SubscriptionRequest) -> SubscriptionMade:
    """Have mail, signed webhooks (Standard Webhooks 1.0) or batches of CloudEvents sent when something happens.

    What happens between two messages is told together, as far as the account may see it then: it needs the permission
    `read`. The secret is shown this once.
    """
    subscription, secret = make(call, body)
    return SubscriptionMade(**dict(answer(find(call, subscription))), secret=secret)


@section.get("/subscriptions/<uuid:subscription_id>", permission=Permission.SELF)
def get_subscription(call: Call, subscription_id: UUID) -> SubscriptionAnswer:
    """One of one's own subscriptions."""
    return answer(find(call, subscription_id))


@section.patch("/subscriptions/<uuid:subscription_id>", permission=Permission.SELF)
def change_subscription(call: Call, subscription_id: UUID, body: SubscriptionChange) -> SubscriptionAnswer:
    """Pause or resume a subscription, or change how often and of what it tells."""
    find(call, subscription_id)
    changes = body.model_dump(exclude_none=True)
    call.detail |= body.model_dump(exclude_none=True, mode="json")
    if changes.get("active"):
        changes["failures"] = 0
    if changes:
        call.connection.execute(update(Subscription).where(Subscription.id == subscription_id).values(**changes))
    return answer(find(call, subscription_id))


@section.delete("/subscriptions/<uuid:subscription_id>", permission=Permission.SELF, status=204)
def delete_subscription(call: Call, subscription_id: UUID) -> None:
    """End a subscription."""
    end(call, subscription_id)


@section.post("/subscriptions/<uuid:subscription_id>/test", permission=Permission.SELF, status=202)
def test_subscription(call: Call, subscription_id: UUID) -> SubscriptionAnswer:
    """Have a test sent; `last_error` tells soon after how it went."""
    test(call, subscription_id)
    return answer(find(call, subscription_id))
