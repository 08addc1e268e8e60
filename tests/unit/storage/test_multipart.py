"""Writing an object in parts where the store's answers are lost."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from perdura.errors import StoreUnavailable
from perdura.storage.multipart import MultipartWriter
from perdura.storage.parts import MIB


class Client:
    """Takes parts, completes the upload, and has forgotten it when it is asked again, as boto3 asks."""

    def __init__(self) -> None:
        self.aborted: list[str] = []

    def create_multipart_upload(self, **_: Any) -> dict[str, str]:
        return {"UploadId": "u"}

    def upload_part(self, *, PartNumber: int, **_: Any) -> dict[str, str]:
        return {"ETag": str(PartNumber)}

    def complete_multipart_upload(self, **_: Any) -> dict[str, str]:
        answer = {"Error": {"Code": "NoSuchUpload"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
        raise ClientError(answer, "CompleteMultipartUpload")  # type: ignore[arg-type]

    def abort_multipart_upload(self, *, UploadId: str, **_: Any) -> None:
        self.aborted.append(UploadId)


def test_an_upload_that_the_store_has_forgotten_is_written_again_and_blamed_on_no_package() -> None:
    client = Client()

    def look(_: str | None) -> Any:
        raise AssertionError("nothing was completed")

    target = {"Bucket": "b", "Key": "k"}
    with MultipartWriter(client, target, size=None, algorithms=("sha256",), look=look) as writer:
        writer.write(bytes(17 * MIB))
        with pytest.raises(StoreUnavailable):
            writer.finish()
    assert client.aborted == ["u"]
