"""Days that are asked for in an address."""

from __future__ import annotations

from perdura.api.problems import FieldError, Problem
from perdura.premis.dates import BadDate, Period, period


def named(name: str, sent: str) -> Period | None:
    """The days (UTC) that the parameter `name` names, None without it; raises a 422 for what is no date."""
    if not sent:
        return None
    try:
        return period(sent)
    except BadDate as error:
        raise Problem(422, "That is no date.", "invalid", (FieldError(f"query.{name}", error.message),)) from None
