"""What an object store really does, found out by trying (embedded-services.md 4.3 rule 4)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from perdura.errors import NotStored, ObjectChanged, PerduraError, Retryable
from perdura.ids import new_id
from perdura.storage.endpoint import translated
from perdura.storage.s3 import S3Store
from perdura.storage.store import PROBES, ObjectRef

_MD5_OF_LOCKED = base64.b64encode(hashlib.md5(b"locked", usedforsecurity=False).digest()).decode()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Results of the probe; correctness never rests on the optional ones."""

    reads_ranges: bool
    """A ranged read pinned by ETag works, and is refused once the object was replaced."""
    verifies_md5: bool
    """A wrong Content-MD5 is refused."""
    conditional_put: bool
    """`If-None-Match: *` refuses to overwrite (one request at a time)."""
    versions: bool
    """The bucket of AIPs keeps replaced objects."""
    object_lock: bool
    """A locked version in the bucket of AIPs cannot be deleted."""
    tags: bool
    """Objects can carry tags."""


def probe(store: S3Store) -> Capabilities:
    """Try each capability on small objects below `.perdura-probe/` and remove them again.

    Raises StoreUnavailable when the store is down, Broken when it refuses our credentials.
    """
    settings, client = store.settings, store.client
    with _scratch(client, settings.bucket_incoming) as (bucket, key):
        first = store.put(bucket, key, b"first")
        ranged = store.read(first.info.ref, 1, 3) == b"irs"
        md5 = _refused(client.put_object, Bucket=bucket, Key=key, Body=b"x", ContentMD5="A" * 22 + "==")
        conditional = _refused(client.put_object, Bucket=bucket, Key=key, Body=b"first", IfNoneMatch="*")
        tags = not _refused(
            client.put_object_tagging, Bucket=bucket, Key=key, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
        )
        store.put(bucket, key, b"second")
        ranged = ranged and _read_is_refused(store, ObjectRef(bucket, key, etag=first.info.ref.etag))
    with _scratch(client, settings.bucket_aips) as (bucket, key):
        old = store.put(bucket, key, b"first").info.ref
        store.put(bucket, key, b"second")
        versions = old.version_id is not None and store.read(old) == b"first"
        locked = versions and _lock_holds(client, bucket, key)
    return Capabilities(ranged, md5, conditional, versions, locked, tags)


@contextlib.contextmanager
def _scratch(client: Any, bucket: str) -> Iterator[tuple[str, str]]:
    key = f"{PROBES}{new_id()}"
    try:
        yield bucket, key
    finally:
        with contextlib.suppress(PerduraError), translated():
            _remove(client, bucket, key)


def _remove(client: Any, bucket: str, key: str) -> None:
    listing = client.list_object_versions(Bucket=bucket, Prefix=key)
    for entry in (*listing.get("Versions", ()), *listing.get("DeleteMarkers", ())):
        client.delete_object(Bucket=bucket, Key=key, VersionId=entry["VersionId"], BypassGovernanceRetention=True)
    if not listing.get("Versions"):
        client.delete_object(Bucket=bucket, Key=key)


def _refused(call: Any, **arguments: Any) -> bool:
    try:
        with translated():
            call(**arguments)
    except Retryable as error:
        if isinstance(error, ObjectChanged):
            return True
        raise
    except PerduraError:
        return True
    return False


def _read_is_refused(store: S3Store, ref: ObjectRef) -> bool:
    try:
        store.read(ref)
    except (ObjectChanged, NotStored):
        return True
    return False


def _lock_holds(client: Any, bucket: str, key: str) -> bool:
    until = datetime.now(UTC) + timedelta(minutes=1)
    try:
        with translated():
            version = client.put_object(
                Bucket=bucket,
                Key=key,
                Body=b"locked",
                ContentMD5=_MD5_OF_LOCKED,
                ObjectLockMode="GOVERNANCE",
                ObjectLockRetainUntilDate=until,
            )["VersionId"]
    except Retryable:
        raise
    except (PerduraError, KeyError):
        return False
    return _refused(client.delete_object, Bucket=bucket, Key=key, VersionId=version)
