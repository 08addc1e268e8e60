"""What every store must do; the same suite over the fake and over a real server."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import socket
import ssl
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from perdura.errors import Broken, NotStored, ObjectChanged, StoreUnavailable
from perdura.ids import new_id
from perdura.packages.sources import StoredObject
from perdura.packages.verify import verify
from perdura.settings import Settings
from perdura.storage import buckets, s3, uploads
from perdura.storage.capabilities import probe
from perdura.storage.memory import MemoryStore
from perdura.storage.s3 import S3Store
from perdura.storage.store import ObjectRef, Store
from perdura.storage.uploads import Upload
from tests.contract.tls_front import tls_front
from tests.corpus.tree import as_archive, bag, with_tag_manifest

MIB = 2**20
BUCKET = "perdura-incoming"
_NEEDED = {"reads_ranges", "versions", "object_lock", "verifies_md5"}


SERVERS = [
    pytest.param("seaweedfs", marks=pytest.mark.stack),
    pytest.param("ceph", marks=pytest.mark.peers),
    pytest.param("ceph-https", marks=pytest.mark.peers),
    pytest.param("aws", marks=pytest.mark.peers),
    pytest.param("aws-https", marks=pytest.mark.peers),
    pytest.param("minio", marks=pytest.mark.peers),
    pytest.param("minio-https", marks=pytest.mark.peers),
]
LACKS = {
    "aws": {"verifies_md5", "late parts"},
    "minio": {"versions", "object_lock", "trailers", "nested names"},
    "ceph": {"trailers"},
}
"""What the servers cannot do; the probe finds what counts. AWS can do what its imitation cannot."""
SEAWEEDFS_TLS = pytest.param("seaweedfs-https", marks=pytest.mark.stack)


@contextlib.contextmanager
def settings_of(server: str, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings that reach a server: Ceph with its own TLS, the others through a door of ours."""
    name, _, tls = server.partition("-")
    found = request.getfixturevalue(name)
    if name == "ceph":
        yield found.tls if tls else found.plain
    elif tls:
        where = urlsplit(found.s3_endpoint)
        folder = request.getfixturevalue("tmp_path_factory").mktemp("tls")
        with tls_front(where.hostname, where.port, folder) as (url, authority):
            yield found.model_copy(update={"s3_endpoint": url, "s3_ca": str(authority)})
    else:
        yield found


@pytest.fixture(params=["memory", *SERVERS])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with settings_of(request.param, request) as settings:
        real = S3Store(settings)
        yield real
        real.close()


@pytest.fixture(params=[*SERVERS, SEAWEEDFS_TLS])
def server(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings that reach one of the servers."""
    with settings_of(request.param, request) as settings:
        yield settings


@pytest.fixture
def lacks(request: pytest.FixtureRequest) -> set[str]:
    """What the server or store of this test cannot do."""
    name = next(str(given) for which, given in request.node.callspec.params.items() if which in {"server", "store"})
    return LACKS.get(name.removesuffix("-https"), set())


@pytest.fixture
def key() -> str:
    return f"tests/{new_id()}"


def test_what_is_put_is_read_back(store: Store, key: str) -> None:
    written = store.put(BUCKET, key, b"hello", content_type="text/plain", metadata={"title": "a"})
    assert written.checksums == {"sha256": hashlib.sha256(b"hello").hexdigest()}
    found = store.head(BUCKET, key)
    assert (found.size, found.ref.etag) == (5, written.info.ref.etag)
    assert found.metadata["title"] == "a"
    assert store.read(found.ref) == b"hello"


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, None, b"0123456789"), (3, 4, b"3456"), (8, 10, b"89"), (10, None, b""), (12, 3, b""), (4, 0, b"")],
)
def test_a_range_is_exactly_its_bytes(store: Store, key: str, offset: int, length: int | None, expected: bytes) -> None:
    ref = store.put(BUCKET, key, b"0123456789").info.ref
    assert store.read(ref, offset, length) == expected
    assert b"".join(bytes(c) for c in store.stream(ref, offset, length, chunk=3)) == expected


def test_an_empty_object_is_an_object(store: Store, key: str) -> None:
    ref = store.put(BUCKET, key, b"").info.ref
    assert store.head(BUCKET, key).size == 0
    assert store.read(ref) == b""


def test_what_is_not_stored_is_said_so(store: Store, key: str) -> None:
    with pytest.raises(NotStored):
        store.head(BUCKET, key)
    with pytest.raises(NotStored):
        store.read(ObjectRef(BUCKET, key))
    with pytest.raises(NotStored):
        store.copy(ObjectRef(BUCKET, key), BUCKET, key + "-copy", 3)


def test_a_pinned_read_notices_a_replaced_object(store: Store, key: str) -> None:
    ref = store.put(BUCKET, key, b"first").info.ref
    store.put(BUCKET, key, b"other")
    pinned = ObjectRef(BUCKET, key, etag=ref.etag)
    with pytest.raises(ObjectChanged):
        store.read(pinned)
    with pytest.raises(ObjectChanged):
        list(store.stream(pinned))
    with pytest.raises(ObjectChanged):
        store.copy(pinned, BUCKET, key + "-copy", 5)


def test_a_listing_is_in_the_order_of_keys_and_pinned(store: Store, key: str) -> None:
    names = [f"{key}/{name}" for name in ("a", "b/c", "b/d", "z")]
    for name in reversed(names):
        store.put(BUCKET, name, name.encode())
    listed = list(store.list(BUCKET, key + "/"))
    assert [entry.ref.key for entry in listed] == names
    assert [entry.size for entry in listed] == [len(name) for name in names]
    assert store.read(listed[1].ref) == names[1].encode()
    assert [entry.ref.key for entry in store.list(BUCKET, key + "/", start_after=names[1])] == names[2:]


def test_a_stream_is_hashed_while_it_is_written(store: Store, key: str) -> None:
    data = os.urandom(40 * MIB + 17)
    with store.writer(BUCKET, key, size=len(data), algorithms=("sha256", "sha512", "md5", "adler32")) as writer:
        for start in range(0, len(data), 3 * MIB):
            writer.write(memoryview(data)[start : start + 3 * MIB])
        assert writer.position == len(data)
        written = writer.finish()
    assert written.checksums == {
        "sha256": hashlib.sha256(data).hexdigest(),
        "sha512": hashlib.sha512(data).hexdigest(),
        "md5": hashlib.md5(data).hexdigest(),
        "adler32": f"{zlib.adler32(data):08x}",
    }
    assert written.info.size == len(data)
    digest = hashlib.sha256()
    for chunk in store.stream(written.info.ref):
        digest.update(chunk)
    assert digest.hexdigest() == written.checksums["sha256"]


@pytest.mark.parametrize("size", [0, 1, 16 * MIB, 16 * MIB + 1])
@pytest.mark.parametrize("announced", [True, False])
def test_a_stream_of_any_size_becomes_one_object(store: Store, key: str, size: int, announced: bool) -> None:
    with store.writer(BUCKET, key, size=size if announced else None) as writer:
        writer.write(bytes(size))
        assert writer.finish().info.size == size


def test_a_stream_that_is_not_finished_leaves_nothing(store: Store, key: str) -> None:
    with store.writer(BUCKET, key) as writer:
        writer.write(bytes(17 * MIB))
    with pytest.raises(NotStored):
        store.head(BUCKET, key)


def test_a_stream_of_another_size_than_announced_leaves_nothing(store: Store, key: str) -> None:
    with store.writer(BUCKET, key, size=5) as writer:
        writer.write(b"four")
        with pytest.raises(Broken):
            writer.finish()
    with pytest.raises(NotStored):
        store.head(BUCKET, key)


def test_a_copy_holds_the_same_bytes(store: Store, key: str) -> None:
    ref = store.put(BUCKET, key, b"bytes").info.ref
    copied = store.copy(ref, BUCKET, key + "-copy", 5)
    assert copied.size == 5
    assert store.read(copied.ref) == b"bytes"


def test_deleting_twice_is_deleting_once(store: Store, key: str) -> None:
    store.put(BUCKET, key, b"x")
    store.delete(ObjectRef(BUCKET, key))
    store.delete(ObjectRef(BUCKET, key))
    with pytest.raises(NotStored):
        store.head(BUCKET, key)


def test_what_was_stored_before_can_be_locked(store: Store, key: str, lacks: set[str]) -> None:
    ref = store.put("perdura-aips", key, b"kept").info.ref
    until = datetime.now(UTC) + timedelta(minutes=5)
    if "object_lock" in lacks:
        assert not store.retain(ref, until)
        return
    assert store.retain(ref, until)
    assert store.retain(ref, until - timedelta(minutes=1))
    with pytest.raises(Broken):
        store.delete(ref)
    with pytest.raises(NotStored):
        store.retain(ObjectRef("perdura-aips", key + "-absent"), until)


def test_names_of_every_kind_are_kept_apart(store: Store, key: str, lacks: set[str]) -> None:
    nested = () if "nested names" in lacks else ("p", "p/q")
    names = [f"{key}/{name}" for name in ("a b", "ä", "a\u0308", "%41", "a+b", "q?x#y", *nested)]
    for name in names:
        store.put(BUCKET, name, name.encode())
    for name in names:
        assert store.read(store.head(BUCKET, name).ref) == name.encode()
    assert {entry.ref.key for entry in store.list(BUCKET, key)} == set(names)


def test_an_upload_is_continued_by_whoever_knows_its_name(store: Store, key: str) -> None:
    source = store.put(BUCKET, key + "-source", os.urandom(5 * MIB) + b"the end").info
    upload = store.uploads.begin(BUCKET, key)
    assert store.uploads.parts(upload) == []
    store.uploads.copy_part(upload, 2, source.ref, 5 * MIB, 7)
    assert [(part.number, part.size) for part in store.uploads.parts(upload)] == [(2, 7)]
    with pytest.raises(NotStored):
        store.head(BUCKET, key)
    store.uploads.copy_part(Upload(BUCKET, key, upload.id), 1, source.ref, 0, 5 * MIB)
    made = store.uploads.complete(upload, store.uploads.parts(upload))
    assert made.size == source.size
    assert store.read(made.ref) == store.read(source.ref)
    with pytest.raises(NotStored):
        store.uploads.parts(upload)


def test_parts_are_sent_and_sent_again(store: Store, key: str, lacks: set[str]) -> None:
    upload = store.uploads.begin(BUCKET, key)
    first = os.urandom(5 * MIB)
    store.uploads.put_part(upload, 1, os.urandom(5 * MIB))
    store.uploads.put_part(upload, 2, bytearray(b"the end"))
    store.uploads.put_part(upload, 1, first)
    made = store.uploads.complete(upload, store.uploads.parts(upload))
    assert store.read(made.ref) == first + b"the end"
    with pytest.raises(StoreUnavailable if "late parts" in lacks else NotStored):
        store.uploads.put_part(upload, 3, b"late")


def test_an_upload_that_is_given_up_leaves_nothing(store: Store, key: str) -> None:
    upload = store.uploads.begin(BUCKET, key)
    store.uploads.abort(upload)
    store.uploads.abort(upload)
    with pytest.raises(NotStored):
        store.head(BUCKET, key)


def test_a_long_copy_goes_on_where_it_stopped(store: Store, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_COPY_PART", 5 * MIB)
    monkeypatch.setattr(uploads, "part_size", lambda _: 5 * MIB)
    source = store.put(BUCKET, key + "-source", os.urandom(12 * MIB)).info
    upload = store.uploads.begin(BUCKET, key)
    looks = iter([False, True])
    assert uploads.copy_on(store.uploads, source.ref, upload, source.size, lambda: next(looks)) is None
    assert [part.number for part in store.uploads.parts(upload)] == [1]
    copied = uploads.copy_on(store.uploads, source.ref, upload, source.size)
    assert copied is not None
    assert store.read(copied.ref) == store.read(source.ref)


def test_what_is_large_is_copied_in_parts_and_pinned(store: Store, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "ONE_REQUEST_COPY", 5 * MIB)
    monkeypatch.setattr(uploads, "_COPY_PART", 5 * MIB)
    monkeypatch.setattr(uploads, "part_size", lambda _: 5 * MIB)
    source = store.put(BUCKET, key, os.urandom(11 * MIB)).info
    copied = store.copy(source.ref, BUCKET, key + "-copy", source.size)
    assert store.read(copied.ref) == store.read(source.ref)
    store.put(BUCKET, key, os.urandom(11 * MIB))
    with pytest.raises(ObjectChanged):
        store.copy(ObjectRef(BUCKET, key, etag=source.ref.etag), BUCKET, key + "-other", source.size)


@pytest.mark.stack
class TestSmallObjects:
    """The short way that small objects take, and the long way when it does not go smoothly."""

    @pytest.fixture
    def s3(self, seaweedfs: Settings) -> Iterator[S3Store]:
        store = S3Store(seaweedfs)
        yield store
        store.close()

    def test_an_object_is_as_the_client_library_would_have_stored_it(self, s3: S3Store, key: str) -> None:
        name = f"{key}a b+ü%41~.txt"
        written = s3.put(BUCKET, name, b"small", content_type="text/plain", metadata={"who": "us"})
        found = s3.head(BUCKET, name, written.info.ref.version_id)
        assert found.ref == written.info.ref
        assert (found.size, found.metadata) == (5, dict(written.info.metadata))
        assert s3.client.head_object(Bucket=BUCKET, Key=name)["ContentType"] == "text/plain"

    def test_a_broken_connection_loses_nothing(self, s3: S3Store, key: str) -> None:
        s3.put(BUCKET, f"{key}first", b"first")
        assert s3._small is not None
        for kept in s3._small._connections._idle.values():
            for _, connection in kept:
                connection.sock.shutdown(socket.SHUT_RDWR)
        assert s3.read(s3.put(BUCKET, f"{key}second", b"second").info.ref) == b"second"

    def test_what_the_store_refuses_is_said_as_ever(self, s3: S3Store, key: str) -> None:
        with pytest.raises(Broken, match="bucket is missing"):
            s3.put("no-such-bucket", key, b"small")


class TestAgainstAServer:
    """What only a server can show."""

    def test_presigned_urls_work_and_name_the_download(self, server: Settings, key: str) -> None:
        store = S3Store(server)
        status, _ = _request(server, "PUT", store.presigned_put(BUCKET, key, 60), b"by url")
        assert status == 200
        url = store.presigned_get(store.head(BUCKET, key).ref, 60, filename="Übersicht 1.pdf")
        status, headers = _request(server, "GET", url)
        assert status == 200
        assert headers["Content-Disposition"].endswith("filename*=UTF-8''%C3%9Cbersicht%201.pdf")
        store.close()

    def test_parts_are_taken_by_url(self, server: Settings, key: str) -> None:
        store = S3Store(server)
        upload = store.uploads.begin(BUCKET, key)
        content = os.urandom(5 * MIB) + b"the end"
        for number, piece in ((2, content[5 * MIB :]), (1, content[: 5 * MIB])):
            status, _ = _request(server, "PUT", store.uploads.presigned(upload, number, 60), piece)
            assert status == 200
        made = store.uploads.complete(upload, store.uploads.parts(upload))
        assert store.read(made.ref) == content
        store.close()

    def test_buckets_are_made_once(self, server: Settings, lacks: set[str]) -> None:
        states = {state.name: state for state in buckets.create(server)}
        assert not any(state.created for state in states.values())
        assert states[server.bucket_aips].versions is ("versions" not in lacks)
        assert states[server.bucket_log].object_lock is ("object_lock" not in lacks)

    def test_the_probe_finds_what_the_server_can(self, server: Settings, lacks: set[str]) -> None:
        store = S3Store(server)
        found = asdict(probe(store))
        assert {name for name in _NEEDED if not found[name]} == lacks & _NEEDED
        assert not list(store.list(server.bucket_aips, ".perdura-probe/"))
        store.close()

    def test_versions_are_read_by_their_id(self, server: Settings, key: str, lacks: set[str]) -> None:
        store = S3Store(server)
        first = store.put(server.bucket_aips, key, b"first").info.ref
        second = store.put(server.bucket_aips, key, b"second").info.ref
        if "versions" in lacks:
            assert (first.version_id, second.version_id) == (None, None)
            with pytest.raises(ObjectChanged):
                store.read(first)
        else:
            assert first.version_id != second.version_id
            assert store.read(first) == b"first"
        assert store.read(second) == b"second"
        store.close()

    @pytest.mark.parametrize("size", [5, 17 * MIB])
    def test_what_is_retained_cannot_be_deleted(self, server: Settings, key: str, size: int, lacks: set[str]) -> None:
        store = S3Store(server)
        until = datetime.now(UTC) + timedelta(minutes=5)
        if "object_lock" in lacks:
            with pytest.raises(Broken):
                _write(store, key, bytes(size), server.bucket_aips, until)
            store.close()
            return
        ref = _write(store, key, bytes(size), server.bucket_aips, until)
        assert ref.version_id is not None
        with pytest.raises(Broken):
            store.delete(ref)
        assert store.head(server.bucket_aips, key, ref.version_id).size == size
        store.close()

    def test_a_bucket_without_locks_says_so(self, server: Settings, key: str) -> None:
        store = S3Store(server)
        assert not store.retain(store.put(BUCKET, key, b"free").info.ref, datetime.now(UTC) + timedelta(minutes=5))
        store.close()

    @pytest.mark.parametrize("size", [100, 17 * MIB])
    def test_checksums_go_along_where_the_settings_say_so(
        self, server: Settings, key: str, size: int, lacks: set[str]
    ) -> None:
        over_tls = str(server.s3_endpoint).startswith("https")
        sent, data = set[str](), os.urandom(size)
        with contextlib.closing(S3Store(server.model_copy(update={"s3_checksums": "when_supported"}))) as store:
            hooks = store.client.meta.events
            hooks.register("before-send.s3", lambda request, **_: sent.update(name.lower() for name in request.headers))
            if over_tls and "trailers" in lacks:
                # It answers 411, or breaks off: such a server wants `when_required` (embedded-services.md 4.3).
                with pytest.raises((Broken, StoreUnavailable)):
                    _write(store, key, data)
            else:
                assert store.read(_write(store, key, data)) == data
        assert ("x-amz-trailer" if over_tls else "x-amz-checksum-crc32") in sent

    def test_a_bag_is_verified_where_it_lies(self, server: Settings, key: str) -> None:
        store = S3Store(server)
        for kind in ("zip", "tar", "tar.gz"):
            info = store.put(BUCKET, f"{key}.{kind}", as_archive(with_tag_manifest(bag()), kind)).info
            assert verify(StoredObject(store, info.ref, info.size)).verdict == "valid"
        store.close()


def _write(
    store: S3Store, key: str, data: bytes, bucket: str = BUCKET, retain_until: datetime | None = None
) -> ObjectRef:
    with store.writer(bucket, key, retain_until=retain_until) as writer:
        writer.write(data)
        return writer.finish().info.ref


def _request(server: Settings, method: str, url: str, body: bytes | None = None) -> tuple[int, dict[str, str]]:
    parts = urlsplit(url)
    if parts.scheme == "https":
        tls = ssl.create_default_context(cafile=server.s3_ca)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(parts.netloc, timeout=30, context=tls)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(method, f"{parts.path}?{parts.query}", body)
    answer = connection.getresponse()
    answer.read()
    headers = dict(answer.getheaders())
    connection.close()
    return answer.status, headers
