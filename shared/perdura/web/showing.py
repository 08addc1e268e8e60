"""What a page shows of one file without saving it: an image, text, a PDF, or what lies in a WARC. Runs no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flask import Response

from perdura.api.content import Extent
from perdura.api.headers import content_security_policy
from perdura.packages.warc_listing import WarcRecord, listing
from perdura.settings import Settings
from perdura.storage.store import Store

TEXT_SHOWN = 256 * 2**10
"""Bytes of a text that are shown; the rest is in the file."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A file as it is shown: its kind (`holdings.kind_of`), the beginning of its text, or its records.

    `cut` says that the text goes on.
    """

    kind: str
    text: str = ""
    cut: bool = False
    records: Sequence[WarcRecord] = ()


def look(store: Store, extent: Extent, kind: str) -> Shown:
    """What is shown of a file of that kind; reads no more of it than that."""
    if kind == "text":
        data = b"".join(bytes(chunk) for chunk in _bytes(store, extent, TEXT_SHOWN))
        return Shown(kind, text=data.decode("utf-8", "replace"), cut=extent.size > TEXT_SHOWN)
    if kind == "warc":
        return Shown(kind, records=list(listing(_bytes(store, extent, extent.size))))
    return Shown(kind)


def _bytes(store: Store, extent: Extent, most: int) -> Iterator[memoryview]:
    size = min(extent.size, most)
    return store.stream(extent.ref, extent.offset, size) if size else iter(())


def allow(response: Response, shown: Shown, settings: Settings) -> Response:
    """The page with leave to frame the PDF that it shows."""
    if shown.kind == "pdf":
        response.headers["Content-Security-Policy"] = f"{content_security_policy(settings)}; frame-src 'self'"
    return response
