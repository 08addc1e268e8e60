"""What all request and answer models share: strictness, and the kinds of text that are let in."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


class Request(BaseModel):
    """A body or query that a client sends: unknown members are refused, so that no typing error goes unseen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """A body that we send."""

    model_config = ConfigDict(frozen=True)


def wrong(message: str, *fields: str) -> ValidationError:
    """What a validator of a whole model raises, naming each of the fields that are at fault."""
    told = PydanticCustomError("wrong", message)
    return ValidationError.from_exception_data(
        "request", [InitErrorDetails(type=told, loc=(field,), input=None) for field in fields]
    )


def _plain(text: str) -> str:
    """Text without control characters and lone surrogates: it fits the database and one line of a log."""
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError("control characters are not allowed")
    return text


PlainText = Annotated[str, AfterValidator(_plain)]


def _in_utc(moment: datetime) -> datetime:
    """The same instant in UTC, which is meant without a zone; one outside of the calendar there fits no database."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("too early or too late") from None


Moment = Annotated[datetime, AfterValidator(_in_utc)]
Search = Annotated[PlainText, Field(max_length=200)]
Limit = Annotated[int, Field(ge=1, le=200, description="Items per page, at most 200.")]
Cursor = Annotated[PlainText, Field(max_length=4096, description="Where to go on: `next` of the page before. Opaque.")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 in lower-case hexadecimal.")]
Checksums = Annotated[dict[str, str], Field(description="Algorithm → digest in lower-case hexadecimal.")]


class Page(Request):
    """Paging by keyset."""

    limit: Limit = 50
    cursor: Cursor | None = None
