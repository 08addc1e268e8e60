"""Requests and answers about access: passes, withdrawal, embargo, notifications."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal, get_args
from uuid import UUID

from pydantic import Field

from perdura.api.models.base import Answer, PlainText, Request
from perdura.clients.destinations import Name

Reason = Literal[
    "duplicate",
    "retracted",
    "replaced",
    "spam",
    "test-record",
    "copyright",
    "personal-data",
    "take-down-request",
    "disputed-authorship",
    "misconduct",
    "fraud",
    "out-of-scope",
]
"""Why something is withdrawn, in the vocabulary of InvenioRDM."""

REASONS: tuple[str, ...] = get_args(Reason)


class PassRequest(Request):
    """What is to be opened, and for how long: a `file` by its path in the AIP, all files as a `zip`, or the `aip`."""

    thing: Literal["file", "zip", "aip"] = "file"
    path: PlainText | None = Field(None, min_length=1, max_length=4000)
    hours: float = Field(24, gt=0, le=30 * 24)


class PassAnswer(Answer):
    """A link that opens it until then."""

    url: str
    expires_at: datetime


class WithdrawalRequest(Request):
    """Why it is withdrawn, and from where (all access systems, when no destination is named)."""

    reason: Reason
    note: PlainText = Field("", max_length=1000, description="Shown to all in place of what was withdrawn.")
    destination: Name | None = None
    tell_source: bool = Field(False, description="Tell whoever is told of this Archive that it is deleted (status D).")


class PublicationRequest(Request):
    """Whether what was withdrawn is to be published again, wherever no record of it was deleted.

    And whether it is to be published although the version of its Resource before it was withdrawn.
    """

    after_withdrawal: bool = False
    although_earlier_withdrawn: bool = False


class EmbargoRequest(Request):
    """Until when the files are shut; null lifts the embargo."""

    until: date | None


class EmbargoAnswer(Answer):
    """The embargo as it is now."""

    archive: UUID
    until: date | None
    published: list[str] = Field(description="Addresses in access systems of others.")
    steps: list[UUID] = Field(description="Steps that bring the embargo to the access systems of others.")


class RestrictionRequest(Request):
    """Whether only those see the Archive to whom it is granted, and why that is so."""

    restricted: bool
    reason: PlainText = Field("", max_length=1000, description="For the PREMIS log.")


class RestrictionAnswer(Answer):
    """The restriction as it is now, and where the Archive is still shown all the same."""

    archive: UUID
    restricted: bool
    published: list[str] = Field(
        description="Addresses in access systems of others, which show it until the steps are done."
    )
    steps: list[UUID] = Field(description="Steps that restrict its records there, or open them again.")


class NotificationRequest(Request):
    """What is to be told once more: `I` processing, `P` preserved, `F` failed, `D` deleted; to one receiver or all."""

    status: Literal["I", "P", "F", "D"]
    notification: PlainText | None = Field(None, min_length=1, max_length=50)


class ErrandAnswer(Answer):
    """The steps that do it, beside the pipeline of the Archive."""

    archive: UUID
    steps: list[UUID]
    links: dict[str, str]
