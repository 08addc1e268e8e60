"""Parameters of feeds and searches: the documented ones and those that the seed service knows (premis.md 1.8)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import quote_plus

from perdura.premis.dates import BadDate, period
from perdura.premis.query import PAGE, Filter, Order, Place, Sight, key_of
from perdura.premis.service.call import Call, Refused, shown

NO_SUCH_PAGE = "That page does not exist.\n"
LARGEST_COUNT = 1_000

FEED = (
    "page", "start", "count", "start_date", "end_date", "type", "outcome", "link_object_id", "event_type",
    "event_outcome", "linked_object_id", "orderby", "orderdir", "version", "cursor",
)  # fmt: skip
SEARCH = (
    "event_outcome", "event_type", "start_date", "end_date", "linked_object_id", "agent", "type", "outcome",
    "link_object_id", "orderby", "orderdir", "page", "cursor",
)  # fmt: skip

_VERSIONS = {"2": "2.3", "2.3": "2.3", "3": "3.0", "3.0": "3.0"}
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of the matches is asked for. `page` is None in start/count mode."""

    offset: int
    size: int
    page: int | None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Ordering:
    """What the matches are ordered by."""

    order: Order
    descending: bool


def version(sent: Mapping[str, str]) -> str | None:
    """The PREMIS version asked for, None for that of each event; raises Refused for anything else."""
    asked = sent.get("version")
    if asked is None:
        return None
    if asked.strip() not in _VERSIONS:
        raise Refused(400, f"version {shown(asked)!r}: expected 2.3 or 3.0.")
    return _VERSIONS[asked.strip()]


def ordering(sent: Mapping[str, str], default: Ordering) -> Ordering:
    """The order asked for; unknown words mean the default order and ascending."""
    asked = sent.get("orderby", "").strip()
    name = asked.removeprefix("-")
    known = name in list(Order)
    order = Order(name) if known else default.order
    descending = default.descending if "orderdir" not in sent and not known else False
    if sent.get("orderdir", "").strip() == "descending":
        descending = True
    return Ordering(order, descending != (known and asked.startswith("-")))


def feed_filter(sent: Mapping[str, str], zone: tzinfo, sight: Sight | None = None) -> Filter:
    """The filter of a feed; raises BadDate."""
    start, end = sent.get("start_date"), sent.get("end_date")
    return Filter(
        type=sent.get("type"),
        outcome=sent.get("outcome"),
        exact_type=sent.get("event_type"),
        exact_outcome=sent.get("event_outcome"),
        start=_date("start_date", start, zone).start if start else None,
        end=_date("end_date", end, zone).end if end else None,
        object=sent.get("link_object_id") or sent.get("linked_object_id"),
        sight=sight,
    )


def _date(name: str, value: str, zone: tzinfo) -> Any:
    try:
        return period(value, zone)
    except BadDate as error:
        raise BadDate(f"{name}: {error.message}") from error


def window(sent: Mapping[str, str], order: Ordering) -> Window:
    """The part asked for; raises Refused for a page, start or count that cannot be."""
    size = PAGE
    if "count" in sent:
        size = min(_positive("count", sent["count"]), LARGEST_COUNT)
    if "start" in sent or ("count" in sent and "page" not in sent):
        start = _positive("start", sent["start"]) if "start" in sent else 1
        return Window(start - 1, size, None)
    page = page_number(sent.get("page"))
    place = read_cursor(sent.get("cursor"), order)
    return Window((page - 1) * size, size, page, place)


def page_number(sent: str | None) -> int:
    """A 1-based page; raises Refused unless it is a positive number."""
    if sent is None:
        return 1
    if not _NUMBER.fullmatch(sent.strip()) or int(sent) < 1:
        raise Refused(400, NO_SUCH_PAGE)
    return int(sent)


def _positive(name: str, sent: str) -> int:
    if not _NUMBER.fullmatch(sent.strip()) or int(sent) < 1:
        raise Refused(400, f"{name} {shown(sent)!r}: expected a number from 1.")
    return int(sent)


def cursor(event: Any, order: Ordering, *, backwards: bool) -> str:
    """An opaque mark for the page that begins after (or ends before) an event."""
    key = [each.isoformat() if isinstance(each, datetime) else each for each in key_of(event, order.order)]
    mark = [str(order.order), int(order.descending), int(backwards), *key]
    return base64.urlsafe_b64encode(json.dumps(mark, ensure_ascii=False).encode()).decode().rstrip("=")


def read_cursor(sent: str | None, order: Ordering) -> Place | None:
    """The place that a cursor marks; None when it is none of ours, or of another order: the page number counts then."""
    if sent is None or len(sent) > 100_000:
        return None
    try:
        mark = json.loads(base64.urlsafe_b64decode(sent + "=" * (-len(sent) % 4)))
        name, descending, backwards, *key = mark
        if name != order.order or bool(descending) != order.descending:
            return None
        return Place(_checked(order.order, key), bool(backwards))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


def _checked(order: Order, key: list[Any]) -> tuple[Any, ...]:
    if order is Order.DATE:
        at, identifier = key
        return (datetime.fromisoformat(at).astimezone(UTC), _text(identifier))
    if order is Order.ADDED:
        (sequence,) = key
        if not isinstance(sequence, int) or not 0 <= sequence < 1 << 63:
            raise ValueError("no sequence")
        return (sequence,)
    if len(key) != (1 if order is Order.IDENTIFIER else 2):
        raise ValueError("no key")
    return tuple(_text(each) for each in key)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("no text")
    value.encode()
    return value


def link(url: str, sent: Mapping[str, str], **changes: str | int | None) -> str:
    """A URL with the parameters of a request, some of them replaced, added or (None) left out."""
    kept = {**sent, **{name: None if value is None else str(value) for name, value in changes.items()}}
    query = "&".join(f"{name}={quote_plus(value)}" for name, value in kept.items() if value is not None)
    return f"{url}?{query}" if query else url


def sent_with_blanks(call: Call, known: tuple[str, ...]) -> dict[str, str]:
    """Known parameters as they were sent, blank ones too: what a page says of itself."""
    return {name: value for name, value in call.query if name in known}
