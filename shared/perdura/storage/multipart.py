"""Writing one object as a stream of parts, hashed in the same pass; nothing becomes visible unless finished."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from perdura.errors import Broken, NotStored, PerduraError, StoreUnavailable
from perdura.storage.digests import Digests
from perdura.storage.endpoint import translated
from perdura.storage.parts import MIB, part_size
from perdura.storage.store import ObjectInfo, Written

_MEMORY = 96 * MIB


class MultipartWriter:
    """A `Writer` over an S3 multipart upload; an object that fits into one part is put in one request."""

    def __init__(
        self,
        client: Any,
        target: dict[str, Any],
        *,
        size: int | None,
        algorithms: tuple[str, ...],
        look: Callable[[str | None], ObjectInfo],
    ) -> None:
        """`target` holds bucket, key and properties as boto3 names them; `look` finds what was stored."""
        self._client = client
        self._target = target
        self._size = size
        self._look = look
        self._digests = Digests(algorithms)
        self._position = 0
        self._part = bytearray()
        self._room = part_size(size)
        self._upload_id: str | None = None
        self._etags: list[str] = []
        self._flying: deque[Future[str]] = deque()
        self._workers: ThreadPoolExecutor | None = None
        self._over = False

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return self._position

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; a full part is sent while the next one fills."""
        if self._over:
            raise Broken("this object is already finished or given up", code="writer-closed")
        view = memoryview(data).cast("B")
        self._digests.update(view)
        self._position += len(view)
        while len(view):
            taken = min(len(view), self._room - len(self._part))
            self._part += view[:taken]
            view = view[taken:]
            if len(self._part) == self._room and (len(view) or self._position != self._size):
                self._send()

    def finish(self) -> Written:
        """Complete the object; raises StoreUnavailable, StoreFull, or Broken when the size is not as announced."""
        if self._size is not None and self._position != self._size:
            self._abort()
            raise Broken(f"{self._position} bytes were written where {self._size} were announced", code="size-mismatch")
        try:
            version = self._complete()
        except PerduraError:
            self._abort()
            raise
        self._close()
        return Written(self._look(version), self._digests.hexdigests())

    def _complete(self) -> str | None:
        names = {"Bucket": self._target["Bucket"], "Key": self._target["Key"]}
        if self._upload_id is None:
            with translated():
                answer = self._client.put_object(**self._target, Body=bytes(self._part), **self._md5(self._part))
        else:
            if self._part:
                self._send()
            while self._flying:
                self._etags.append(self._flying.popleft().result())
            parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(self._etags, 1)]
            try:
                with translated():
                    answer = self._client.complete_multipart_upload(
                        **names, UploadId=self._upload_id, MultipartUpload={"Parts": parts}
                    )
            except NotStored as error:
                # Nobody but this writer knows the upload: it was completed, and the answer to that was lost.
                raise StoreUnavailable("the object store lost track of an upload") from error
        version = answer.get("VersionId")
        return None if version is None else str(version)

    def _send(self) -> None:
        if self._upload_id is None:
            with translated():
                self._upload_id = self._client.create_multipart_upload(**self._target)["UploadId"]
            self._workers = ThreadPoolExecutor(2, thread_name_prefix="upload")
        assert self._workers is not None
        body, self._part = self._part, bytearray()
        while self._flying and (len(self._flying) + 2) * len(body) > _MEMORY:
            self._etags.append(self._flying.popleft().result())
        number = len(self._etags) + len(self._flying) + 1
        self._flying.append(self._workers.submit(self._upload, number, body))
        self._room = part_size(self._size, self._position)

    def _upload(self, number: int, body: bytearray) -> str:
        with translated():
            answer = self._client.upload_part(
                Bucket=self._target["Bucket"],
                Key=self._target["Key"],
                UploadId=self._upload_id,
                PartNumber=number,
                Body=body,
                **self._md5(body),
            )
        return str(answer["ETag"])

    def _md5(self, body: bytearray) -> dict[str, str]:
        """Content-MD5, without which AWS refuses what is to be locked (S3 Object Lock)."""
        if "ObjectLockMode" not in self._target:
            return {}
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        return {"ContentMD5": base64.b64encode(digest).decode()}

    def _close(self) -> None:
        self._over = True
        self._part = bytearray()
        if self._workers:
            self._workers.shutdown(wait=True, cancel_futures=True)

    def _abort(self) -> None:
        if self._over:
            return
        self._close()
        if self._upload_id is not None:
            # An upload that cannot be aborted now is removed by the bucket's lifecycle rule.
            with contextlib.suppress(PerduraError), translated():
                self._client.abort_multipart_upload(
                    Bucket=self._target["Bucket"], Key=self._target["Key"], UploadId=self._upload_id
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abort()
