"""Archivematica's Storage Service: package records, browsing, pointer files, bytes (archivematica.md 2)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from perdura.clients.archivematica.exchange import Exchange
from perdura.fleet import ArchivematicaRefused, ArchivematicaUnavailable, Stored

DOWNLOAD_SECONDS = 900.0
"""Reading an AIP may begin with the service fetching it to its own disk."""
PAGE, MOST_PAGES = 100, 1000
"""Records asked for at a time, and how often: what is looked for is never called missing for want of pages."""


class StorageService:
    """The API of one Storage Service."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def holds(self, location: str, folder: str, entry: str) -> bool:
        """Whether `folder` of a location (relative to it) has that entry: what is not visible never starts (2.4)."""
        asked = {"path": base64.b64encode(folder.encode()).decode()} if folder else {}
        reply = self._exchange.ask("GET", f"/api/v2/location/{location}/browse/", params=asked)
        if reply.status != 200:
            raise ArchivematicaRefused(
                f"The transfer source cannot be browsed ({reply.status}). {reply.said()}".strip(), reply.status
            )
        document = reply.document()
        found = document.get("entries") if isinstance(document, dict) else None
        if not isinstance(found, list):
            raise ArchivematicaUnavailable("What is in the transfer source cannot be understood.")
        return base64.b64encode(entry.encode()).decode() in found

    def package(self, package: UUID) -> Stored | None:
        """A package's record, or None when there is none (yet)."""
        reply = self._exchange.ask("GET", f"/api/v2/file/{package}/")
        return _stored(reply.document()) if reply.status == 200 else None

    def stored_as(self, name: str, since: datetime) -> tuple[Stored, ...]:
        """AIPs stored since then that were made of the transfer `name`; the service cannot be asked by name.

        The file is called `<name>-<id>`, and nothing else is: a name may be the beginning of another. Raises
        ArchivematicaUnavailable when more was stored since than can be looked through.
        """
        asked: dict[str, Any] = {
            "package_type": "AIP",
            # Its dates are UTC without saying so (2.5).
            "stored_date__gte": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "limit": PAGE,
        }
        found: list[Stored] = []
        for page in range(MOST_PAGES):
            reply = self._exchange.ask("GET", "/api/v2/file/", params={**asked, "offset": page * PAGE})
            document = reply.document()
            objects = document.get("objects") if isinstance(document, dict) else None
            if reply.status != 200 or not isinstance(objects, list):
                raise ArchivematicaUnavailable(f"The list of packages cannot be had ({reply.status}).")
            found += [each for each in map(_stored, objects) if _is_of(each, name)]
            meta = document.get("meta")
            if not isinstance(meta, dict) or not meta.get("next"):
                return tuple(found)
        raise ArchivematicaUnavailable(f"More than {PAGE * MOST_PAGES} AIPs were stored since {since}.")

    def pointer(self, package: UUID) -> bytes | None:
        """The pointer file of a compressed AIP; None when it has none."""
        reply = self._exchange.ask("GET", f"/api/v2/file/{package}/pointer_file/")
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise ArchivematicaUnavailable(f"The pointer file cannot be had ({reply.status}). {reply.said()}".strip())
        if not reply.body.rstrip().endswith(b">"):
            raise ArchivematicaUnavailable("The pointer file came cut off.")
        return reply.body

    def download(self, package: UUID, near: Callable[[], bool]) -> AbstractContextManager[Iterator[bytes]]:
        """The package as a stream, while there is time. Never asked by HEAD, which would send the body too (2.6)."""
        return self._exchange.stream(f"/api/v2/file/{package}/download/", near, timeout=DOWNLOAD_SECONDS)

    def extract(self, package: UUID, path: str, near: Callable[[], bool]) -> AbstractContextManager[Iterator[bytes]]:
        """One file of a package as a stream, while there is time."""
        return self._exchange.stream(
            f"/api/v2/file/{package}/extract_file/",
            near,
            params={"relative_path_to_file": path},
            timeout=DOWNLOAD_SECONDS,
        )


def _is_of(record: Stored, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(f'{name}-{record.id}')}(\.[0-9a-z]+)*", record.name, re.IGNORECASE) is not None


def _stored(found: Any) -> Stored:
    try:
        related = tuple(UUID(str(each).strip("/").rpartition("/")[2]) for each in found.get("related_packages") or ())
        return Stored(
            UUID(found["uuid"]),
            str(found["package_type"]),
            str(found["status"]),
            str(found.get("current_full_path") or ""),
            int(found.get("size") or 0),
            str(found.get("origin_pipeline") or ""),
            related,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchivematicaUnavailable("The Storage Service's record cannot be understood.") from error
