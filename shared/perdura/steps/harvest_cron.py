"""Cron expressions of schedules: five fields, UTC (POSIX crontab; lists, ranges, steps, names of months and days)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from perdura.errors import Rejected

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: number for number, name in enumerate(_DAY_NAMES)}
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_HORIZON = timedelta(days=366 * 8)
"""How far ahead to look: the 29th of February comes within eight years."""


@dataclass(frozen=True, slots=True)
class Cron:
    """The minutes, hours, days, months and weekdays (0 = Sunday) at which something is due.

    As POSIX has it: where both day fields are restricted, one of them suffices.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def after(self, instant: datetime) -> datetime | None:
        """The first due minute later than the instant; None when there is none (the 31st of February)."""
        moment = instant.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = moment + _HORIZON
        while moment < end:
            if moment.month not in self.months or not self._on_day(moment):
                moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                return moment
        return None

    def _on_day(self, moment: datetime) -> bool:
        day, weekday = moment.day in self.days, (moment.weekday() + 1) % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return day and weekday
        return day or weekday


def parse(text: str) -> Cron:
    """Read an expression; raises Rejected (`cron-unreadable`) saying which field is wrong."""
    fields = _SHORT.get(text.strip().lower(), text).split()
    if len(fields) != 5:
        raise Rejected("A schedule has five fields: minute, hour, day, month, weekday.", code="cron-unreadable")
    minute, hour, day, month, weekday = fields
    weekdays = _values(weekday, 0, 7, "weekday", _DAYS)
    return Cron(
        minutes=_values(minute, 0, 59, "minute"),
        hours=_values(hour, 0, 23, "hour"),
        days=_values(day, 1, 31, "day"),
        months=_values(month, 1, 12, "month", _MONTHS),
        weekdays=frozenset(value % 7 for value in weekdays),
        any_day=day.startswith("*"),
        any_weekday=weekday.startswith("*"),
    )


def _values(field: str, low: int, high: int, name: str, names: dict[str, int] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        first_text, dash, last_text = span.partition("-")
        step = _number(step_text, 1, high, name) if slash else 1
        if span == "*":
            first, last = low, high
        else:
            first = _number(first_text, low, high, name, names)
            last = _number(last_text, low, high, name, names) if dash else (high if slash else first)
        if last < first:
            raise Rejected(f"The {name} “{part}” of the schedule runs backwards.", code="cron-unreadable")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, low: int, high: int, name: str, names: dict[str, int] | None = None) -> int:
    value = (names or {}).get(text.lower())
    if value is None and text.isascii() and text.isdecimal() and len(text) < 4:
        value = int(text)
    if value is None or not low <= value <= high:
        raise Rejected(f"“{text[:20]}” is no {name} of a schedule ({low} to {high}).", code="cron-unreadable")
    return value
