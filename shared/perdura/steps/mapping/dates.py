"""Dates in the form that InvenioRDM takes (inveniordm.md 1.2)."""

from __future__ import annotations

import re
from typing import Any

from perdura.steps.mapping.model import text
from perdura.steps.mapping.told import left, made
from perdura.steps.mapping.vocabularies import DATE_TYPES

_DATE = re.compile(r"(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?(?P<more>[T ].*)?")
_DAY_MONTH = re.compile(r"(\d{1,2})\s+([A-Za-z]{3})[a-z]*\.?\s+(\d{4})")
_ANY_YEAR = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def date(value: Any) -> str | None:
    """A date as EDTF level 0 (`2026`, `2026-01`, `2026-01-02`, `1939/1945`); None when none can be seen in it.

    What else the value says (a time of day, a doubt, a day that no month has) is left out.
    """
    if not isinstance(value, str):
        value = str(value) if isinstance(value, int) else ""
    found, whole = _seen(value.strip())
    if found is None:
        left(value, "It is not a date.")
    elif whole:
        return made(found, value)
    else:
        left(value, f"As a date the record has {found}.")
    return found


def dated(value: Any, kind: Any, note: Any = None) -> dict[str, Any] | None:
    """An entry of `dates`; an unknown type becomes `other`."""
    written = date(value)
    if written is None:
        return None
    known = (text(kind) or "").lower()
    entry: dict[str, Any] = {"date": written, "type": {"id": made(known, kind) if known in DATE_TYPES else "other"}}
    if known not in DATE_TYPES:
        left(kind, "No such type of date is known everywhere; it became other.")
    if text(note):
        entry["description"] = text(note)
    return entry


def _seen(written: str) -> tuple[str | None, bool]:
    """The date in a text, and whether it says all of it."""
    if "/" in written and not re.fullmatch(r"\d{4}/\d{1,2}(/\d{1,2})?", written):
        (first, first_whole), (last, last_whole) = (_seen(part.strip()) for part in written.split("/", 1))
        if first and last and first <= last:
            return f"{first}/{last}", first_whole and last_whole
        return first or last, False
    if match := _DATE.fullmatch(written):
        year, month, day = match.group(1, 2, 3)
        found = _checked(year, month, day)
        return found, match["more"] is None and found.count("-") == sum(part is not None for part in (month, day))
    if match := _DAY_MONTH.search(written):
        month = match[2].lower()
        if month in _MONTHS:
            return _checked(match[3], str(_MONTHS.index(month) + 1), match[1]), match[0] == written
    year_only = _ANY_YEAR.search(written)
    return (year_only[0], False) if year_only else (None, False)


def _checked(year: str, month: str | None, day: str | None) -> str:
    """As much of a date as is possible: a 31st of April becomes April."""
    if month is None or not 1 <= int(month) <= 12:
        return year
    if day is None or not 1 <= int(day) <= _DAYS[int(month) - 1]:
        return f"{year}-{int(month):02d}"
    leap = int(year) % 4 == 0 and (int(year) % 100 != 0 or int(year) % 400 == 0)
    if int(month) == 2 and int(day) == 29 and not leap:
        return f"{year}-02"
    return f"{year}-{int(month):02d}-{int(day):02d}"
