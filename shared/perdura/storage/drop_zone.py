"""Which objects of the store a caller may name: the one rule for harvests, announcements and packages taken over.

Named may be what lies in the drop zone or in a bucket that the operator opened: nothing in a bucket of the platform's
own, and no upload of a deposit, which is its depositor's alone. Whose Archive an object became meanwhile is asked
besides (`perdura.accounts.arrivals`).
"""

from __future__ import annotations

import unicodedata

from perdura.errors import Rejected
from perdura.settings import Settings

DEPOSITS = "deposits"
"""What the keys of uploads begin with: `deposits/<id>`."""


def open_buckets(settings: Settings) -> list[str]:
    """The buckets of which objects may be named, the drop zone first; never one of the platform's own."""
    own = {settings.bucket_sips, settings.bucket_aips, settings.bucket_dips, settings.bucket_log}
    buckets = dict.fromkeys([settings.bucket_incoming, *settings.announce_buckets.split()])
    return [bucket for bucket in buckets if bucket not in own]


def nameable(bucket: str, key: str, settings: Settings) -> bool:
    """Whether a caller may name this object, or all below this prefix.

    A key that one store takes for another is none: with empty parts, with `.` or `..`, with control characters.
    """
    parts = key.removesuffix("/").split("/")
    if bucket not in open_buckets(settings) or not all(parts) or not {".", ".."}.isdisjoint(parts):
        return False
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in key):
        return False
    return bucket != settings.bucket_incoming or parts[0].casefold() != DEPOSITS


def check(bucket: str, key: str, settings: Settings) -> None:
    """Raise Rejected unless a caller may name this object, or all below this prefix."""
    if not nameable(bucket, key, settings):
        raise Rejected("What lies there cannot be named: it is not open to callers.", code="destination-refused")
