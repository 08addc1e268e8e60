"""Choosing a collection in a form: by its name, of which the first ones are offered, or by its id."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from perdura.api.models.archives import ArchiveFilter
from perdura.api.problems import FieldError, Problem
from perdura.api.queries import collections
from perdura.web.visit import Visit

OFFERED = 200
"""Names that a browser is told to offer; every other can be typed."""


def offered(visit: Visit) -> list[str]:
    """Names of collections that may be chosen, the first ones."""
    return collections.names(visit.connection, visit.principal, limit=OFFERED)


def of_filter(visit: Visit, narrowed: ArchiveFilter) -> str:
    """The name of the collection whose members a filter finds, empty where it is about none."""
    found = collections.find(visit.connection, visit.principal, narrowed.collection) if narrowed.collection else None
    return "" if found is None else str(found.name)


def chosen(visit: Visit, field: str, text: str) -> str:
    """The id of the collection that was typed into a field, empty for none; raises a 422 when there is none such."""
    if not text:
        return ""
    found = collections.named(visit.connection, visit.principal, text)
    if found is not None:
        return str(found.id)
    with suppress(ValueError):
        return str(UUID(text))
    told = FieldError(f"form.{field}", "there is no collection of this name")
    raise Problem(422, "There is no such collection.", "invalid", (told,))
