"""Subscriptions: what one wants to hear of, and how."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, model_validator

from perdura.api.models.base import Answer, PlainText, Request, wrong
from perdura.api.naming import CollectionId
from perdura.clients.addresses import mailbox, origin_of

Kind = Literal["failed", "rejected", "completed", "fixity-failed"]
Way = Literal["email", "webhook", "cloudevents"]
Minutes = Annotated[int, Field(ge=0, le=10080, description="Minutes between two messages; 1440 is a daily digest.")]


class SubscriptionRequest(Request):
    """What is to be told, to which address, and how often at most."""

    way: Way
    address: PlainText = Field(min_length=3, max_length=500, description="A mail address, or an http(s) URL.")
    kinds: list[Kind] = Field(min_length=1, max_length=4)
    collection: CollectionId | None = Field(None, description="Only of Archives in this collection.")
    source: PlainText | None = Field(None, max_length=200, description="Only of Archives from this Source.")
    every_minutes: Minutes = 0

    @model_validator(mode="after")
    def _address(self) -> SubscriptionRequest:
        try:
            if self.way == "email":
                mailbox(self.address)
            else:
                origin_of(self.address)
        except ValueError:
            raise wrong(f"no {'mail address' if self.way == 'email' else 'http or https URL'}", "address") from None
        return self


class SubscriptionChange(Request):
    """What is to change of a subscription."""

    active: bool | None = None
    every_minutes: Minutes | None = None
    kinds: list[Kind] | None = Field(None, min_length=1, max_length=4)


class SubscriptionAnswer(Answer):
    """A subscription and how telling it goes."""

    id: UUID
    way: Way
    address: str
    kinds: list[str]
    collection: UUID | None
    source: str | None
    every_minutes: int
    active: bool = Field(description="False: paused, by its owner or after 20 failures in a row.")
    failures: int
    last_error: str | None
    sent: datetime | None
    created: datetime
    links: dict[str, str]


class SubscriptionMade(SubscriptionAnswer):
    """A new subscription, with the secret that signs its messages: it is shown this once."""

    secret: str | None = Field(description="None for mail, which is not signed.")


class SubscriptionList(Answer):
    """One's own subscriptions."""

    items: list[SubscriptionAnswer]
