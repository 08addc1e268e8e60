"""Refuses what a request names of the object store and no caller may name: a 403, so that it is in the audit log."""

from __future__ import annotations

from collections.abc import Mapping

from perdura.api.naming import FIELDS_TOLD
from perdura.api.problems import FieldError, Problem
from perdura.settings import Settings
from perdura.storage import drop_zone


def check_bucket(field: str, bucket: str, settings: Settings) -> None:
    """Raise a 403 for a bucket that the operator has not opened."""
    if bucket not in drop_zone.open_buckets(settings):
        problem = FieldError(field, "not one from which packages may be announced")
        raise Problem(403, "Nothing can be announced from this bucket.", "forbidden", (problem,))


def check_keys(bucket: str, keys: Mapping[str, str], settings: Settings) -> None:
    """Raise a 403 that names each field, of those in `keys`, whose key or prefix in an open bucket may not be named."""
    refused = [field for field, key in keys.items() if not drop_zone.nameable(bucket, key, settings)]
    if refused:
        problems = tuple(FieldError(field, "not open to announcements") for field in refused[:FIELDS_TOLD])
        raise Problem(403, "What lies there cannot be announced.", "forbidden", problems)
