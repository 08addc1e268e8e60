"""The object store over the S3 protocol: one adapter for SeaweedFS, Ceph RGW, AWS and their like.

What servers do differently is in embedded-services.md 4.2; the rules for this client in 4.3 there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from perdura.errors import Broken, ObjectChanged, StoreUnavailable
from perdura.settings import Settings
from perdura.storage.endpoint import new_client, translated
from perdura.storage.multipart import MultipartWriter
from perdura.storage.ranges import RangeReader
from perdura.storage.small_puts import small_puts
from perdura.storage.store import NOTHING, ObjectInfo, ObjectRef, Writer, Written
from perdura.storage.uploads import ONE_REQUEST_COPY, S3Uploads, copy_on

_ABSENT = frozenset({"NoSuchKey", "NoSuchVersion"})
_LOCKLESS = frozenset({"InvalidRequest", "NotImplemented"})
"""What a bucket without Object Lock answers (AWS, Ceph, MinIO and SeaweedFS the first), or a store that has none."""


class S3Store:
    """`Store` over S3. One per process: it keeps connections and is safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.client: Any = new_client(settings, settings.s3_endpoint)
        self._public: Any = self.client
        if settings.s3_public_endpoint and settings.s3_public_endpoint != settings.s3_endpoint:
            self._public = new_client(settings, settings.s3_public_endpoint)
        self._ranges = RangeReader(self._internal_url, settings.s3_ca)
        self._small = small_puts(settings)
        self._uploads = S3Uploads(self.client, self._public, self.head)

    @property
    def settings(self) -> Settings:
        """The settings it was made from."""
        return self._settings

    @property
    def uploads(self) -> S3Uploads:
        """Uploads in parts that outlive this process."""
        return self._uploads

    def close(self) -> None:
        """Close all connections."""
        self._ranges.close()
        if self._small is not None:
            self._small.close()
        self.client.close()
        self._public.close()

    def head(self, bucket: str, key: str, version_id: str | None = None) -> ObjectInfo:
        """What is stored there, pinned by ETag and version; raises NotStored."""
        arguments = {"Bucket": bucket, "Key": key}
        if version_id not in (None, "null"):
            arguments["VersionId"] = str(version_id)
        with translated():
            answer = self.client.head_object(**arguments)
        if "ETag" not in answer:
            raise StoreUnavailable("what answers at the address of the object store is none")
        version = answer.get("VersionId")
        ref = ObjectRef(bucket, key, None if version in (None, "null") else version, _bare(answer["ETag"]))
        return ObjectInfo(ref, int(answer["ContentLength"]), answer.get("LastModified"), dict(answer["Metadata"]))

    def list(self, bucket: str, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """All objects below a prefix, by key, each pinned by ETag; pages are fetched as needed."""
        arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": 1000}
        if start_after:
            arguments["StartAfter"] = start_after
        while True:
            with translated():
                page = self.client.list_objects_v2(**arguments)
            for entry in page.get("Contents", ()):
                ref = ObjectRef(bucket, entry["Key"], etag=_bare(entry["ETag"]))
                yield ObjectInfo(ref, int(entry["Size"]), entry.get("LastModified"))
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if not token:
                raise StoreUnavailable("the object store broke off a listing")
            arguments["ContinuationToken"] = token

    def read(self, ref: ObjectRef, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a small range; raises NotStored, ObjectChanged."""
        return b"".join(bytes(piece) for piece in self._ranges.stream(ref, offset, length, 1 << 20))

    def stream(
        self, ref: ObjectRef, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[memoryview]:
        """Bytes of a range as chunks, each valid until the next is asked for; raises NotStored, ObjectChanged."""
        return self._ranges.stream(ref, offset, length, chunk)

    def read_into(self, ref: ObjectRef, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from that offset on, without a copy; raises NotStored, ObjectChanged."""
        return self._ranges.read_into(ref, offset, buffer)

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] = NOTHING,
        retain_until: datetime | None = None,
    ) -> Written:
        """Store a small object. Content-MD5 goes along, the one checksum that every server verifies."""
        sha256 = hashlib.sha256(data).hexdigest()
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        told = {"sha256": sha256, **metadata}
        target = _target(bucket, key, content_type, told, retain_until)
        if self._small is not None and retain_until is None:
            headers = {"Content-MD5": md5, "Content-Type": content_type}
            headers |= {f"x-amz-meta-{name}": text for name, text in told.items()}
            if stored := self._small.send(bucket, key, data, headers):
                ref = ObjectRef(bucket, key, None if stored.version_id == "null" else stored.version_id, stored.etag)
                return Written(ObjectInfo(ref, len(data), metadata=told), {"sha256": sha256})
        with translated():
            answer = self.client.put_object(**target, Body=data, ContentMD5=md5)
        return Written(self.head(bucket, key, answer.get("VersionId")), {"sha256": sha256})

    def writer(
        self,
        bucket: str,
        key: str,
        *,
        size: int | None = None,
        algorithms: tuple[str, ...] = ("sha256",),
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] = NOTHING,
        retain_until: datetime | None = None,
    ) -> Writer:
        """Write a large object as a stream; nothing becomes visible before `finish()`."""
        return MultipartWriter(
            self.client,
            _target(bucket, key, content_type, metadata, retain_until),
            size=size,
            algorithms=algorithms,
            look=lambda version: self._kept(bucket, key, version, retain_until),
        )

    def _kept(self, bucket: str, key: str, version: str | None, retain_until: datetime | None) -> ObjectInfo:
        """What was written, its retention set where the store forgot it: Ceph 16 does, of an upload in parts."""
        found = self.head(bucket, key, version)
        if retain_until is not None and not self.retain(found.ref, retain_until):
            raise Broken("the object store does not lock what it was asked to", code="not-retained")
        return found

    def retain(self, ref: ObjectRef, until: datetime) -> bool:
        """Lock one version until then, unless it is already; False where the bucket has no Object Lock.

        Raises NotStored, and Broken where it has but we may not lock.
        """
        named = {"Bucket": ref.bucket, "Key": ref.key, **({"VersionId": ref.version_id} if ref.version_id else {})}
        retention = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
        with translated():
            try:
                held = self.client.get_object_retention(**named)["Retention"]["RetainUntilDate"]
            except ClientError as error:
                code = error.response["Error"].get("Code")
                if code in _LOCKLESS:
                    return False
                if code in _ABSENT:
                    raise
                held = None
            # Dates are kept in whole seconds.
            if held is not None and held >= until - timedelta(seconds=1):
                return True
            try:
                self.client.put_object_retention(**named, Retention=retention)
            except ClientError as error:
                if error.response["Error"].get("Code") in _LOCKLESS:
                    return False
                raise
        return True

    def copy(self, ref: ObjectRef, bucket: str, key: str, size: int) -> ObjectInfo:
        """Copy inside the store, pinned to `ref`; in parts above 1 GiB; raises NotStored, ObjectChanged."""
        source: dict[str, Any] = {"CopySource": {"Bucket": ref.bucket, "Key": ref.key}}
        if ref.version_id:
            source["CopySource"]["VersionId"] = ref.version_id
        if ref.etag:
            source["CopySourceIfMatch"] = f'"{_bare(ref.etag)}"'
        if size <= ONE_REQUEST_COPY:
            with translated():
                answer = self.client.copy_object(Bucket=bucket, Key=key, **source)
            self._check_unchanged(ref)
            return self.head(bucket, key, answer.get("VersionId"))
        upload = self.uploads.begin(bucket, key)
        try:
            copied = copy_on(self.uploads, ref, upload, size)
        except BaseException:
            self.uploads.abort(upload)
            raise
        assert copied is not None, "nothing said stop"
        self._check_unchanged(ref)
        return copied

    def _check_unchanged(self, ref: ObjectRef) -> None:
        """Not every store honours the condition of a copy (Ceph 16 ignores it): look once more."""
        if ref.etag and not ref.version_id and self.head(ref.bucket, ref.key).ref.etag != _bare(ref.etag):
            raise ObjectChanged("the object was replaced while it was being copied")

    def delete(self, ref: ObjectRef) -> None:
        """Remove one object or version; removing what is not there is no error."""
        arguments = {"Bucket": ref.bucket, "Key": ref.key}
        if ref.version_id:
            arguments["VersionId"] = ref.version_id
        with translated():
            self.client.delete_object(**arguments)

    def presigned_get(self, ref: ObjectRef, seconds: int, *, filename: str | None = None) -> str:
        """A URL that reads the object as people outside reach it; `filename` makes browsers save it as that."""
        arguments = _read_arguments(ref)
        if filename is not None:
            arguments["ResponseContentDisposition"] = _attachment(filename)
        with translated():
            return str(self._public.generate_presigned_url("get_object", Params=arguments, ExpiresIn=seconds))

    def presigned_put(
        self, bucket: str, key: str, seconds: int, *, public: bool = True, content_type: str | None = None
    ) -> str:
        """A URL that writes the object; `public` uses the endpoint that depositors reach; a media type is signed."""
        client = self._public if public else self.client
        arguments = {"Bucket": bucket, "Key": key} | ({"ContentType": content_type} if content_type else {})
        with translated():
            return str(client.generate_presigned_url("put_object", Params=arguments, ExpiresIn=seconds))

    def _internal_url(self, ref: ObjectRef, seconds: int) -> str:
        with translated():
            return str(self.client.generate_presigned_url("get_object", Params=_read_arguments(ref), ExpiresIn=seconds))


def _bare(etag: str) -> str:
    return etag.strip('"')


def _read_arguments(ref: ObjectRef) -> dict[str, str]:
    arguments = {"Bucket": ref.bucket, "Key": ref.key}
    if ref.version_id:
        arguments["VersionId"] = ref.version_id
    return arguments


def _target(
    bucket: str, key: str, content_type: str, metadata: Mapping[str, str], retain_until: datetime | None
) -> dict[str, Any]:
    target: dict[str, Any] = {"Bucket": bucket, "Key": key, "ContentType": content_type}
    if metadata:
        if not all(text.isascii() for pair in metadata.items() for text in pair):
            raise Broken("metadata of stored objects must be ASCII", code="metadata-not-ascii")
        target["Metadata"] = dict(metadata)
    if retain_until is not None:
        target |= {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": retain_until}
    return target


def _attachment(filename: str) -> str:
    """Content-Disposition of RFC 6266: an ASCII stand-in, and the real name in RFC 8187 form."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
