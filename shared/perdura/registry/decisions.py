"""Who may see an Archive, as it stands in its metadata: marks of what people decided, which only that changes.

`restriction`, `embargo_by_hand` and `earlier_versions` write them. Whatever else changes the metadata of an Archive
that is there does it by `CHANGED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdura.errors import Rejected

PUBLISHED_BY_HAND = "published_by_hand"
"""Mark in the metadata of an Archive that a person wants published, although an earlier version was withdrawn."""

MARKS = ("restricted_by_hand", "embargo_by_hand", PUBLISHED_BY_HAND)

CHANGED = f"""
    metadata || (coalesce(CAST(:metadata AS jsonb), '{{}}') - ARRAY[{", ".join(f"'{mark}'" for mark in MARKS)}])
        || CASE WHEN metadata ? 'embargo_by_hand'
                    OR metadata ->> 'embargo_until' > CAST(:metadata AS jsonb) ->> 'embargo_until'
                THEN jsonb_build_object('embargo_until', metadata -> 'embargo_until') ELSE '{{}}' END
"""
"""What becomes of an Archive's metadata (SQL) when `:metadata` is told of it: no mark is set, an embargo that was
decided by hand stays, and of two others the later.
"""


def require_description(metadata: Mapping[str, Any] | None) -> None:
    """Raise Rejected for metadata that would say who may see an Archive: that is decided elsewhere, and logged."""
    named = sorted({"embargo_until", *MARKS} & (metadata or {}).keys())
    if named:
        raise Rejected(
            f"Who may see an Archive is not told with its metadata ({', '.join(named)}): set its embargo, restrict or "
            "publish it.",
            code="not-by-metadata",
        )
