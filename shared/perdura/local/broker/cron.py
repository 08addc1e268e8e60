"""Cron schedules as PingSources have them: 5 or 6 fields, descriptors, a time zone (serverless.md §1.9, §3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DESCRIPTORS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = dict(zip(_MONTH_NAMES, range(1, 13), strict=True))
_DAYS = dict(zip(("sun", "mon", "tue", "wed", "thu", "fri", "sat"), range(7), strict=True))
_NAMES: tuple[dict[str, int], ...] = ({}, {}, {}, {}, _MONTHS, _DAYS)
_HORIZON = timedelta(days=5 * 366)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due. Each field is the set of values that fit; `any_day` and `any_weekday` tell whether
    the field was `*`: if neither was, a day fits when one of them does."""

    fields: tuple[frozenset[int], ...]
    any_day: bool
    any_weekday: bool
    zone: tzinfo

    @classmethod
    def parse(cls, text: str, zone: str | None = None) -> Schedule:
        """The schedule of a cron expression. Raises ValueError saying what is wrong."""
        expression = text.strip()
        if expression.startswith("@"):
            if expression not in _DESCRIPTORS:
                raise ValueError(f"unrecognized descriptor: {expression}")
            expression = _DESCRIPTORS[expression]
        parts = expression.split()
        if len(parts) not in (5, 6):
            raise ValueError(f"expected 5 to 6 fields, found {len(parts)}: {text}")
        parts = parts if len(parts) == 6 else ["0", *parts]
        fields = tuple(_field(part, index) for index, part in enumerate(parts))
        return cls(fields, parts[3][0] in "*?", parts[5][0] in "*?", _zone(zone))

    def after(self, moment: datetime) -> datetime | None:
        """The first time due after an aware moment, in UTC; None if there is none within five years."""
        at = moment.astimezone(self.zone).replace(microsecond=0) + timedelta(seconds=1)
        end = at + _HORIZON
        seconds, minutes, hours, _, months, _ = self.fields
        while at < end:
            if at.month not in months:
                at = (at.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0)
            elif not self._fits_day(at):
                at = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0)
            elif at.hour not in hours:
                at = (at + timedelta(hours=1)).replace(minute=0, second=0)
            elif at.minute not in minutes:
                at = (at + timedelta(minutes=1)).replace(second=0)
            elif at.second not in seconds:
                at += timedelta(seconds=1)
            else:
                return at.astimezone(UTC)
        return None

    def _fits_day(self, at: datetime) -> bool:
        day = at.day in self.fields[3]
        weekday = at.isoweekday() % 7 in self.fields[5]
        return day and weekday if self.any_day or self.any_weekday else day or weekday


def _zone(name: str | None) -> tzinfo:
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name}") from error


def _field(text: str, index: int) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        values |= _range(part, index)
    return frozenset(values)


def _range(text: str, index: int) -> set[int]:
    low, high = _BOUNDS[index]
    span, slash, step_text = text.partition("/")
    if span in ("*", "?"):
        start, end = low, high
    else:
        first, dash, last = span.partition("-")
        start = _value(first, index)
        end = _value(last, index) if dash else (high if slash else start)
    step = int(step_text) if slash and step_text.isascii() and step_text.isdigit() else 1
    if slash and not (step_text.isascii() and step_text.isdigit() and step > 0):
        raise ValueError(f"bad step in {text}")
    if not low <= start <= end <= high:
        raise ValueError(f"{text} is not within {low} to {high}")
    return set(range(start, end + 1, step))


def _value(text: str, index: int) -> int:
    named = _NAMES[index].get(text.lower())
    if named is not None:
        return named
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no number")
    return int(text)
