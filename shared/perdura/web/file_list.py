"""A page of the files of a package, all of them or those whose path has some words; every page is an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from sqlalchemy.engine import Connection

from perdura.api import cursors
from perdura.api.queries import files
from perdura.api.queries.rows import AnyRow
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


def read(
    connection: Connection,
    package: AnyRow | None,
    asked: Mapping[str, str],
    show: Callable[[AnyRow, AnyRow], Holding],
    address: str,
    *,
    prefix: str = "",
) -> FileList:
    """The page that was asked for (`q`, `cursor`); raises a 422 for a cursor that is none of ours.

    `show` makes a Holding of a file and its package; `prefix` is a folder outside of which nothing is shown.
    """
    words, cursor = asked.get("q", "").strip()[:LONGEST], asked.get("cursor")
    after = cursors.decode(cursor, 1)[0] if cursor else None
    if package is None:
        return FileList(address, words, [], None)
    rows = files.page(connection, package.id, limit=SHOWN + 1, after=after, prefix=prefix, words=words)
    shown = [show(row, package) for row in rows[:SHOWN]]
    following = None
    if len(rows) > SHOWN:
        wanted = {"q": words} if words else {}
        following = f"{address}?{urlencode(wanted | {'cursor': cursors.encode(shown[-1].stored)})}"
    return FileList(address, words, shown, following)
