"""The buckets of a deployment: made when missing, never changed when there."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perdura.errors import Conflict, PerduraError, Retryable
from perdura.settings import Settings
from perdura.storage.endpoint import new_client, translated

_UPLOAD_DAYS = 7


@dataclass(frozen=True, slots=True)
class BucketState:
    """What a bucket is like as its store says: whether it keeps versions and offers Object Lock.

    Whether the lock is enforced is a matter of `capabilities.probe`: some servers say yes and do nothing.
    """

    name: str
    created: bool
    versions: bool
    object_lock: bool


def create(settings: Settings) -> Sequence[BucketState]:
    """Make the buckets that are missing and say what all of them are like; doing it again changes nothing.

    Buckets of AIPs and of the sealed log get versions and Object Lock where the server can; Object Lock has to be
    asked for when a bucket is made. Raises StoreUnavailable.
    """
    client = new_client(settings, settings.s3_endpoint)
    try:
        kept_for_ever = {settings.bucket_aips, settings.bucket_log}
        names = (settings.bucket_incoming, settings.bucket_sips, settings.bucket_dips, *sorted(kept_for_ever))
        return [_ensure(client, name, locked=name in kept_for_ever) for name in dict.fromkeys(names)]
    finally:
        client.close()


def _ensure(client: Any, name: str, *, locked: bool) -> BucketState:
    created = False
    if not _exists(client, name):
        created = _make(client, name, locked=locked)
        if locked:
            with _optional(), translated():
                client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        with _optional(), translated():
            client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration=_LIFECYCLE)
    versions = object_lock = False
    with _optional(), translated():
        versions = client.get_bucket_versioning(Bucket=name).get("Status") == "Enabled"
    with _optional(), translated():
        answer = client.get_object_lock_configuration(Bucket=name)
        object_lock = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
    return BucketState(name, created, versions, object_lock)


_LIFECYCLE = {
    "Rules": [
        {
            "ID": "unfinished-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _UPLOAD_DAYS},
        }
    ]
}


class _optional(contextlib.AbstractContextManager[None]):
    """Lets a server do without what it does not know; a server that is down is still an error."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, PerduraError) and not isinstance(error, Retryable)


def _exists(client: Any, name: str) -> bool:
    with _optional(), translated():
        client.head_bucket(Bucket=name)
        return True
    return False


def _make(client: Any, name: str, *, locked: bool) -> bool:
    if locked:
        with _optional(), translated():
            client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
            return True
    try:
        with translated():
            client.create_bucket(Bucket=name)
    except Conflict:
        # Two processes start at once: the other one was faster.
        return False
    return True
