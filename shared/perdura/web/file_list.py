"""A page of files, all of them or those whose path has some words; every page is an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from perdura.api import cursors
from perdura.api.queries.rows import AnyRow
from perdura.web import paging
from perdura.web.holdings import Holding

SHOWN = 200
LONGEST = 200


@dataclass(frozen=True, slots=True)
class FileList:
    """One page: its address without a query, the text that was looked for, the files, and where it goes on."""

    address: str
    words: str
    holdings: list[Holding]
    following: str | None


class Page(Protocol):
    """Reads rows of files by what they are called; `files.page` of a package, `offers.page` of an Archive."""

    def __call__(self, *, limit: int, after: str | None, words: str) -> Sequence[AnyRow]:
        """At most `limit` of them whose name follows `after` and has `words` in it."""
        ...


def read(page: Page | None, asked: Mapping[str, str], show: Callable[[AnyRow], Holding], address: str) -> FileList:
    """The page that was asked for (`q`, `cursor`), empty without files; raises a 422 for a cursor that is none of ours.

    `show` makes a Holding of a file; its path is what files are ordered by.
    """
    words, cursor = asked.get("q", "").strip()[:LONGEST], asked.get("cursor")
    after = cursors.decode(cursor, 1)[0] if cursor else None
    if page is None:
        return FileList(address, words, [], None)
    rows = page(limit=SHOWN + 1, after=after, words=words)
    shown = [show(row) for row in rows[:SHOWN]]
    last = cursors.encode(shown[-1].path) if len(rows) > SHOWN else None
    return FileList(address, words, shown, paging.following(address, last, q=words or None))
