"""What is said where the address, the certificate or the credentials of the object store are wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from perdura.errors import Broken, StoreUnavailable
from perdura.settings import Settings
from perdura.storage.s3 import S3Store
from tests.contract.tls_front import tls_front
from tests.upstreams.server import Reply, Upstream


@contextlib.contextmanager
def opened(**told: str | None) -> Iterator[S3Store]:
    with contextlib.closing(S3Store(Settings.model_validate(told))) as store:
        yield store


def test_a_page_is_no_store(upstream: Upstream) -> None:
    upstream.fallback = lambda path: Reply(b"<html>Welcome!<br></html>", 200, {"Content-Type": "text/html"})
    with opened(s3_endpoint=upstream.base, s3_access_key="a", s3_secret_key="b") as store:
        with pytest.raises(StoreUnavailable, match="what answers"):
            store.head("bucket", "key")
        with pytest.raises(StoreUnavailable):
            list(store.list("bucket", ""))


def test_who_has_no_credentials_is_told_so(upstream: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with opened(s3_endpoint=upstream.base) as store, pytest.raises(StoreUnavailable, match="no credentials"):
        store.head("bucket", "key")
    assert upstream.seen == []


@pytest.mark.parametrize("bucket", ["", "[bucket", "a b"])
def test_a_name_that_no_bucket_has_is_asked_for_nowhere(upstream: Upstream, bucket: str) -> None:
    with (
        opened(s3_endpoint=upstream.base, s3_access_key="a", s3_secret_key="b") as store,
        pytest.raises(Broken, match="of such a name"),
    ):
        store.head(bucket, "key")
    assert upstream.seen == []


@pytest.mark.stack
def test_a_certificate_of_nobody_is_not_taken(seaweedfs: Settings, tmp_path: Path) -> None:
    where = urlsplit(seaweedfs.s3_endpoint)
    with tls_front(str(where.hostname), where.port or 0, tmp_path) as (url, _):
        astray = seaweedfs.model_copy(update={"s3_endpoint": url})
        with contextlib.closing(S3Store(astray)) as store, pytest.raises(StoreUnavailable, match="certificate"):
            store.head("perdura-incoming", "key")
