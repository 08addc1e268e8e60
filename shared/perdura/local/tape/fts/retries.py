"""Pure decisions of the daemons: which errors are worth another try, what archiveinfo means, how checksums compare."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping
from typing import Any

AGAIN = (
    "performance marker", "Name or service not known", "Connection timed out", "end-of-file was reached",
    "end of file occurred", "SRM_INTERNAL_ERROR", "was forcefully killed", "operation timeout",
)  # fmt: skip
NEVER = (
    "proxy expired", "with an error 550 File not found", "File exists and overwrite", "No such file or directory",
    "SRM_INVALID_PATH", "The certificate has expired", "The available CRL has expired", "SRM Authentication failed",
    "SRM_DUPLICATION_ERROR", "SRM_AUTHENTICATION_FAILURE", "SRM_NO_FREE_SPACE", "digest too big for rsa key",
    "Can not determine address of local host", "Permission denied", "System error in write into HDFS",
    "File exists", "checksum do not match", "CHECKSUM MISMATCH", "The source file is not ONLINE",
)  # fmt: skip
NEVER_BY_SCOPE: Mapping[str, frozenset[int]] = {
    "SOURCE": frozenset({2, 1, 13, 21, 36, 7, 20, 93}),
    "DESTINATION": frozenset({1, 13, 21, 7, 30, 14, 36, 93, 17}),
}
NEVER_ELSEWHERE = frozenset({28, 1, 13, 17, 27, 30, 36, 93})
ETIMEDOUT, ECANCELED = 110, 125
STAGE_AGAIN = frozenset({110, 103, 111, 104, 11, 16})


def recoverable(scope: str, errno: int, text: str) -> bool:
    """True when a copy error is worth another try (fts-cta.md 3.3)."""
    if errno == ETIMEDOUT or any(part in text for part in AGAIN):
        return True
    if errno == ECANCELED or any(part in text for part in NEVER):
        return False
    return errno not in NEVER_BY_SCOPE.get(scope, NEVER_ELSEWHERE)


def checksum(given: str) -> str | None:
    """The value of `ALGO:value`, eight lower-case digits; None when there is only an algorithm."""
    value = given.partition(":")[2].strip().lower()
    return value.zfill(8) if value else None


def archive_result(item: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """State and reason that an archiveinfo item gives a file; None while it is on its way."""
    if item is None:
        return None
    if "error" in item:
        return "FAILED", f"ARCHIVING [42] [Tape REST API] {item['error']}"
    locality = item.get("locality")
    if locality in ("TAPE", "DISK_AND_TAPE"):
        return "FINISHED", ""
    if locality == "LOST":
        return "FAILED", "ARCHIVING [2] [Tape REST API] File is lost"
    if locality == "NONE":
        return "FAILED", "ARCHIVING [1] [Tape REST API] File is not available"
    return None


def redacted(text: str) -> str:
    """A reason without the query strings of URLs."""
    return re.sub(r"\?[^\s)\]]*", "?<redacted>", text)


def epoch(moment: str) -> float:
    """Seconds of an FTS moment."""
    return float(calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%S")))
