"""Where a list that is shown page by page goes on."""

from __future__ import annotations

from urllib.parse import urlencode


def following(at: str, cursor: str | None, /, **given: object) -> str | None:
    """The address of the next page of the list at `at`; None without a cursor, which is at its end.

    Of the parameters given those are left out that are None; an empty one stays.
    """
    if cursor is None:
        return None
    kept = {name: value for name, value in given.items() if value is not None}
    return f"{at}?{urlencode({**kept, 'cursor': cursor})}"
