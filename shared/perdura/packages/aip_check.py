"""Reads a stored package back and compares it with what was written: no store's word is taken (packages.md §6)."""

from __future__ import annotations

import hashlib

from perdura.errors import Retryable
from perdura.storage.store import Store, Written


def read_back(store: Store, written: Written) -> None:
    """Read the whole object and compare size and SHA-256; raises Retryable when it is not what was written."""
    sha256, size = hashlib.sha256(), 0
    for chunk in store.stream(written.info.ref):
        sha256.update(chunk)
        size += len(chunk)
    if size != written.info.size or sha256.hexdigest() != written.checksums["sha256"]:
        raise Retryable(
            f"{written.info.ref.bucket}/{written.info.ref.key} reads back as other bytes than were written",
            code="stored-differs",
        )
