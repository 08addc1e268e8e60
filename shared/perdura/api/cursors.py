"""Keyset cursors: where a listing goes on, as opaque text; constant time at any depth."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from perdura.api.problems import FieldError, Problem
from perdura.api.queries.rows import AnyRow
from perdura.recordable import storable


def encode(*parts: str) -> str:
    """The cursor after an item with this sort key."""
    return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(cursor: str, length: int) -> tuple[str, ...]:
    """The sort key in a cursor; raises a 422 for what we did not write."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise malformed() from None
    if not isinstance(parts, list) or len(parts) != length or not all(isinstance(part, str) for part in parts):
        raise malformed()
    if not all(map(storable, parts)):
        raise malformed()
    return tuple(parts)


def encode_moment(moment: datetime, identifier: UUID) -> str:
    """The cursor after an item sorted by (time, id)."""
    return encode(moment.isoformat(), str(identifier))


def decode_moment(cursor: str) -> tuple[datetime, UUID]:
    """The (time, id) in a cursor; raises a 422 for what we did not write."""
    moment, identifier = decode(cursor, 2)
    try:
        return instant(moment), UUID(identifier)
    except ValueError:
        raise malformed() from None


def instant(text: str) -> datetime:
    """A time in a cursor, in UTC; raises a 422 for what is none, or lies outside of the calendar there."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise malformed()
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise malformed() from None


def encode_sequence(sequence: int) -> str:
    """The cursor after an item sorted by a sequence number."""
    return encode(str(sequence))


def decode_sequence(cursor: str) -> int:
    """The sequence number in a cursor; raises a 422 for what we did not write."""
    return decode_numbers(cursor, 1)[0]


def encode_numbers(*numbers: int) -> str:
    """The cursor after an item sorted by several numbers."""
    return encode(*map(str, numbers))


def decode_numbers(cursor: str, length: int) -> tuple[int, ...]:
    """The numbers in a cursor; raises a 422 for what we did not write."""
    texts = decode(cursor, length)
    if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in texts):
        raise malformed()
    return tuple(map(int, texts))


def place(cursor: str | None) -> tuple[datetime, UUID] | None:
    """The place after which a listing by (time, id) goes on; None at its beginning."""
    return decode_moment(cursor) if cursor else None


def cut(rows: Sequence[AnyRow], limit: int) -> tuple[Sequence[AnyRow], str | None]:
    """The first `limit` of the rows, and the cursor behind them by (`created_at`, `id`) where there are more."""
    shown = rows[:limit]
    return shown, encode_moment(shown[-1].created_at, shown[-1].id) if len(rows) > limit else None


def malformed() -> Problem:
    """The 422 for a cursor that is none of ours."""
    return Problem(422, "The cursor is none of ours.", "cursor", (FieldError("query.cursor", "take it from `next`"),))
