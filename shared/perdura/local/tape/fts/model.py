"""Jobs without bytes: rules say by URL how long each stage takes and how it ends (fts-cta.md 11.1, mode "model").

A rule `{"effect": "model", "match": "example.org"}` takes the place of every storage that it matches. It may tell
`copy_seconds`, `archive_seconds` and `stage_seconds` (0), and how they end: `copy_error` as a reason of FTS
(`SOURCE [2] not there`), `archive_error` and `stage_error` as the Tape REST API says them. `times` is not for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from perdura.local.tape.faults import Faults
from perdura.local.tape.fts.submission import Row

TOKEN = "model"  # noqa: S105 - the name of a stage request that was never made
UNTOLD = 20_000_000
"""Size of a file whose submission did not tell one, in bytes."""


class Model:
    """What the rules make of URLs; None for a storage that is a real one."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def of(self, *urls: str) -> Mapping[str, Any] | None:
        """The rule for a file, or None."""
        return self._faults.apply("model", " ".join(urls))

    def copied(self, rule: Mapping[str, Any], file: Row) -> tuple[int, str | None]:
        """Copy nothing for as long as the rule says; gives back the size and the reason of a failure."""
        time.sleep(float(rule.get("copy_seconds", 0)))
        return int(file["user_filesize"] or UNTOLD), rule.get("copy_error")

    def archived(self, url: str, waited: float) -> Mapping[str, Any] | None:
        """An `archiveinfo` item for a file that has waited so many seconds; None for a real storage."""
        rule = self.of(url)
        if rule is None:
            return None
        if waited < float(rule.get("archive_seconds", 0)):
            return {"locality": "DISK"}
        return {"error": rule["archive_error"]} if "archive_error" in rule else {"locality": "TAPE"}

    def staged(self, url: str, waited: float) -> Row | None:
        """The same as an item of a stage request."""
        rule = self.of(url)
        if rule is None:
            return None
        if waited < float(rule.get("stage_seconds", 0)):
            return {"onDisk": False}
        return {"onDisk": False, "error": rule["stage_error"]} if "stage_error" in rule else {"onDisk": True}
