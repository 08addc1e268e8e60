"""Uploads in parts that outlive a process: begun by one, continued by any, complete only when all parts are there.

S3 names them by an upload id; part numbers run from 1 to 10,000 (S3 multipart limits).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from perdura.errors import NotStored, StoreUnavailable
from perdura.storage.endpoint import translated
from perdura.storage.parts import Part as Part
from perdura.storage.parts import Upload as Upload
from perdura.storage.parts import part_size
from perdura.storage.store import ObjectInfo, ObjectRef


class Uploads(Protocol):
    """Uploads in parts. Methods raise StoreUnavailable, and NotStored for an upload that is over."""

    def begin(self, bucket: str, key: str) -> Upload:
        """Begin an upload; nothing is visible before it is completed."""
        ...

    def presigned(self, upload: Upload, number: int, seconds: int) -> str:
        """A URL that takes one part by `PUT`, as depositors reach the store."""
        ...

    def put_part(self, upload: Upload, number: int, data: bytes | bytearray) -> None:
        """Send one part; a part of that number sent before is replaced."""
        ...

    def copy_part(self, upload: Upload, number: int, source: ObjectRef, offset: int, length: int) -> None:
        """Have the store take a part from another object; raises ObjectChanged, NotStored."""
        ...

    def parts(self, upload: Upload) -> Sequence[Part]:
        """The parts that have arrived, by number."""
        ...

    def complete(self, upload: Upload, parts: Sequence[Part]) -> ObjectInfo:
        """Make the object of these parts."""
        ...

    def abort(self, upload: Upload) -> None:
        """Give an upload up; one that is over already is no error."""
        ...


class S3Uploads:
    """`Uploads` over S3; `public` makes the URLs that depositors get."""

    def __init__(self, client: Any, public: Any, look: Callable[[str, str, str | None], ObjectInfo]) -> None:
        self._client = client
        self._public = public
        self._look = look

    def begin(self, bucket: str, key: str) -> Upload:
        """Begin an upload; nothing is visible before it is completed."""
        with translated():
            answer = self._client.create_multipart_upload(Bucket=bucket, Key=key)
        return Upload(bucket, key, str(answer["UploadId"]))

    def presigned(self, upload: Upload, number: int, seconds: int) -> str:
        """A URL that takes one part by `PUT`, as depositors reach the store."""
        arguments = {**_names(upload), "PartNumber": number}
        with translated():
            return str(self._public.generate_presigned_url("upload_part", Params=arguments, ExpiresIn=seconds))

    def put_part(self, upload: Upload, number: int, data: bytes | bytearray) -> None:
        """Send one part; a part of that number sent before is replaced."""
        with translated():
            self._client.upload_part(**_names(upload), PartNumber=number, Body=data)

    def copy_part(self, upload: Upload, number: int, source: ObjectRef, offset: int, length: int) -> None:
        """Have the store take a part from another object; raises ObjectChanged, NotStored."""
        place = {"Bucket": source.bucket, "Key": source.key}
        arguments: dict[str, Any] = {
            "CopySource": place | ({"VersionId": source.version_id} if source.version_id else {}),
            "CopySourceRange": f"bytes={offset}-{offset + length - 1}",
        }
        if source.etag:
            arguments["CopySourceIfMatch"] = f'"{source.etag.strip(chr(34))}"'
        with translated():
            self._client.upload_part_copy(**_names(upload), **arguments, PartNumber=number)

    def parts(self, upload: Upload) -> Sequence[Part]:
        """The parts that have arrived, by number."""
        found: list[Part] = []
        marker = 0
        while True:
            with translated():
                page = self._client.list_parts(**_names(upload), PartNumberMarker=marker, MaxParts=1000)
            found += [
                Part(int(part["PartNumber"]), int(part["Size"]), str(part["ETag"])) for part in page.get("Parts", ())
            ]
            if not page.get("IsTruncated"):
                return sorted(found, key=lambda part: part.number)
            following = int(page.get("NextPartNumberMarker") or 0)
            if following <= marker:
                raise StoreUnavailable("the object store broke off a listing")
            marker = following

    def complete(self, upload: Upload, parts: Sequence[Part]) -> ObjectInfo:
        """Make the object of these parts."""
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        with translated():
            answer = self._client.complete_multipart_upload(**_names(upload), MultipartUpload={"Parts": listed})
        version = answer.get("VersionId")
        return self._look(upload.bucket, upload.key, None if version is None else str(version))

    def abort(self, upload: Upload) -> None:
        """Give an upload up; one that is over already is no error."""
        try:
            with translated():
                self._client.abort_multipart_upload(**_names(upload))
        except NotStored:
            return


def _names(upload: Upload) -> Mapping[str, str]:
    return {"Bucket": upload.bucket, "Key": upload.key, "UploadId": upload.id}


ONE_REQUEST_COPY = 2**30
"""Bytes that a store is asked to copy in one request: some say nothing until they are done, and nobody waits for long.

SeaweedFS takes 8 s for them on two processors; S3 allows five times as many.
"""
_COPY_PART = ONE_REQUEST_COPY


def copy_on(
    uploads: Uploads, ref: ObjectRef, upload: Upload, size: int, near: Callable[[], bool] = lambda: False
) -> ObjectInfo | None:
    """Go on copying an object of `size` bytes into an upload; None when `near` said stop before it was complete.

    Parts that are there are not copied again. Raises NotStored, ObjectChanged.
    """
    length = max(_COPY_PART, part_size(size))
    there = {part.number: part for part in uploads.parts(upload)}
    starts = range(0, size, length)
    for number, start in enumerate(starts, 1):
        wanted = min(length, size - start)
        if number in there and there[number].size == wanted:
            continue
        if near():
            return None
        uploads.copy_part(upload, number, ref, start, wanted)
    return uploads.complete(upload, uploads.parts(upload)[: len(starts)])
