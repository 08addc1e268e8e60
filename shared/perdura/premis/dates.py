"""Dates of events: what is accepted, the earliest instant each names, and how it is shown (premis.md 1.5)."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from perdura.errors import Rejected
from perdura.premis.model import rfc3339, value


class BadDate(Rejected):
    """The text is no date of a form that is accepted."""

    code = "bad-date"


@value
class EventDate:
    """The earliest instant that the text names (in UTC), and the text as it is shown."""

    instant: datetime
    text: str


_INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)([T ])(\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_USUAL = re.compile(r"(?!0000)\d{4}-\d\d-\d\dT(?!24)\d\d:\d\d:\d\dZ", re.ASCII)
_DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)(Z|[+-]\d\d:\d\d)?", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(Z?)", re.ASCII)
_COMPACT_DAY = re.compile(r"(\d{4})(\d\d)(\d\d|\?\?)~?\??", re.ASCII)
_PERIOD = re.compile(r"(\d\d)(\d\d|\?\?|\d\?)(?:-(\d\d|\?\?))?~?\??", re.ASCII)
_RANGE_END = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)
_INTERVAL_IN_2 = re.compile(
    r"(\d{4}(-\d\d)?|UNKNOWN)/(\d{4}(-\d\d)?|UNKNOWN|OPEN)"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)?/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)?",
    re.ASCII,
)
_LONGEST = 80


def event_date(text: str, now: datetime, zone: tzinfo = UTC) -> EventDate:
    """Read the date of an event; `zone` is that of date-times without an offset.

    Raises BadDate for anything that is not in the table of premis.md 1.5.
    """
    if len(text) > _LONGEST:
        raise _bad(text)
    try:
        if _USUAL.fullmatch(text):
            return EventDate(datetime.fromisoformat(text), text)
        found = _single(text, zone) or _interval(text, now, zone)
    except (ValueError, OverflowError) as error:
        raise _bad(text) from error
    if found is None:
        raise _bad(text)
    return found


def allowed_in_2(text: str) -> bool:
    """Whether a date that was accepted is also valid in PREMIS 2.3 (its edtfSimpleType)."""
    return "/" not in text or _INTERVAL_IN_2.fullmatch(text) is not None


def _bad(text: str) -> BadDate:
    return BadDate(
        f"eventDateTime {text[:200]!r}: expected an ISO 8601 date or date-time, such as 2024-03-05T16:39:49Z, "
        "or an EDTF form of PREMIS 2."
    )


def _single(text: str, zone: tzinfo) -> EventDate | None:
    if match := _INSTANT.fullmatch(text):
        return _date_time(match, zone)
    if match := _COMPACT.fullmatch(text):
        year, month, day, hour, minute, second, utc = match.groups()
        moment = _moment(int(year), int(month), int(day), int(hour), int(minute), int(second))
        instant = _utc(moment.replace(tzinfo=UTC if utc else zone))
        return EventDate(instant, rfc3339(instant) if utc else text)
    if match := _DAY.fullmatch(text):
        year, month, day, offset = match.groups()
        start = datetime(int(year), int(month), int(day), tzinfo=_offset(offset) if offset else zone)
        return EventDate(_utc(start), text)
    if (start_of := _period(text)) is not None:
        return EventDate(_utc(start_of.replace(tzinfo=zone)), text)
    return None


def _date_time(match: re.Match[str], zone: tzinfo) -> EventDate:
    year, month, day, _, hour, minute, second, fraction, offset = match.groups()
    moment = _moment(int(year), int(month), int(day), int(hour), int(minute), int(second or 0))
    if fraction:
        if hour == "24" and fraction.strip(".0"):
            raise ValueError("24:00:00 has no fraction")
        moment += timedelta(microseconds=int(fraction[1:7].ljust(6, "0")))
    aware = moment.replace(tzinfo=_offset(offset) if offset else _to_the_minute(moment.replace(tzinfo=zone)))
    shown_offset = _shown_offset(aware) if offset is None or len(offset) not in (1, 6) else offset
    text = f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}{fraction or ''}{shown_offset}"
    return EventDate(_utc(aware), text)


def _moment(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime:
    """A wall-clock time; 24:00:00 is the start of the next day (XML Schema)."""
    if hour == 24 and minute == second == 0:
        return datetime(year, month, day) + timedelta(days=1)
    return datetime(year, month, day, hour, minute, second)


def _offset(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if minutes > 59 or hours * 60 + minutes > 14 * 60:
        raise ValueError("offset out of range")
    aware = datetime.strptime(f"{text[0]}{digits}", "%z").tzinfo
    return aware if aware is not None else UTC


def _to_the_minute(moment: datetime) -> tzinfo | None:
    """Its zone; local mean times of long ago, which differ by seconds too, to the minute that XML can say."""
    offset = moment.utcoffset() or timedelta()
    if not offset % timedelta(minutes=1):
        return moment.tzinfo
    return timezone(timedelta(minutes=round(offset / timedelta(minutes=1))))


def _shown_offset(moment: datetime) -> str:
    offset = moment.utcoffset() or timedelta()
    if not offset:
        return "Z"
    sign, minutes = ("-", -offset) if offset < timedelta() else ("+", offset)
    total = round(minutes.total_seconds() / 60)
    return f"{sign}{total // 60:02d}:{total % 60:02d}"


def _utc(moment: datetime) -> datetime:
    """In UTC; raises OverflowError or ValueError beyond the years 1 to 9999."""
    return moment.astimezone(UTC)


def _period(text: str) -> datetime | None:
    """Start of an uncertain or partial date: `2011`, `2011-01~`, `201?`, `20??`, `20110125`, `201101??`."""
    if match := _PERIOD.fullmatch(text):
        century, rest, month = match.groups()
        return datetime(max(1, int(century + rest.replace("?", "0"))), _known(month), 1)
    if match := _COMPACT_DAY.fullmatch(text):
        year, month, day = match.groups()
        return datetime(int(year), int(month), _known(day))
    return None


def _known(digits: str | None) -> int:
    return 1 if digits is None or "?" in digits else int(digits)


def _interval(text: str, now: datetime, zone: tzinfo) -> EventDate | None:
    """`from/to`: both ends must be dates; what counts is the earliest instant that either names."""
    if text == "OPEN":
        return EventDate(now, text)
    first, slash, last = text.partition("/")
    if not slash:
        return None
    ends = [_end(first, zone, "UNKNOWN"), _end(last, zone, "UNKNOWN", "OPEN")]
    instants = [end for end in ends if end is not None]
    return EventDate(min(instants) if instants else now, text)


def _end(text: str, zone: tzinfo, *words: str) -> datetime | None:
    if text in words:
        return None
    if (match := _INSTANT.fullmatch(text)) and match[4] == "T" and match[7]:
        return _date_time(match, zone).instant
    if match := _RANGE_END.fullmatch(text):
        return _utc(datetime(int(match[1]), int(match[2] or 1), int(match[3] or 1), tzinfo=zone))
    raise ValueError("no end of an interval")


_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july", "aug august",
         "sep september", "oct october", "nov november", "dec december"),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_AMERICAN = re.compile(r"(\d\d?)/(\d\d?)/(\d{4}|\d\d)", re.ASCII)
_WORDED = re.compile(r"([A-Za-z]{3,9})\.? (\d\d?),? (\d{4})", re.ASCII)
_LOST_PLUS = re.compile(r"(T\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (\d\d:?\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` (inclusive) to `end` (exclusive), both in UTC."""

    start: datetime
    end: datetime


def period(text: str, zone: tzinfo = UTC) -> Period:
    """The period that a date of a query names (premis.md 1.8); an instant is a period of one microsecond.

    Raises BadDate with a message for the sender of the query.
    """
    text = _LOST_PLUS.sub(r"\1+\2", text.strip())
    try:
        found = _days(text, zone)
        if found is None and len(text) <= _LONGEST and (match := _INSTANT.fullmatch(text)):
            instant = _date_time(match, zone).instant
            found = Period(instant, instant + (timedelta(microseconds=1) if match[7] else timedelta(minutes=1)))
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise BadDate(f"{text[:200]!r} is no date: expected MM/DD/YYYY or an ISO 8601 date, such as 2024-03-05.")
    return found


def _days(text: str, zone: tzinfo) -> Period | None:
    if match := _AMERICAN.fullmatch(text):
        year = int(match[3])
        if len(match[3]) == 2:
            year += 1900 if year >= 69 else 2000
        return _whole(year, int(match[1]), int(match[2]), zone)
    if match := _WORDED.fullmatch(text):
        month = _MONTHS.get(match[1].lower())
        return _whole(int(match[3]), month, int(match[2]), zone) if month else None
    if match := _DAY.fullmatch(text):
        return _whole(int(match[1]), int(match[2]), int(match[3]), _offset(match[4]) if match[4] else zone)
    if (match := _RANGE_END.fullmatch(text)) is None:
        return None
    return _whole(int(match[1]), int(match[2]) if match[2] else None, None, zone)


def _whole(year: int, month: int | None, day: int | None, zone: tzinfo) -> Period:
    start = datetime(year, month or 1, day or 1, tzinfo=zone)
    last_month = month or 12
    last = datetime(year, last_month, day or monthrange(year, last_month)[1], tzinfo=zone)
    if last.date() == datetime.max.date():
        return Period(_utc(start), datetime.max.replace(tzinfo=UTC))
    return Period(_utc(start), _utc((last.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)))
