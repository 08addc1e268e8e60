"""What bad input gets: a clear message in the API, the command and the timeline; nothing half-written stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack, bag_tar
from tests.upstreams import invenio
from tests.upstreams.server import Reply, Upstream, serving

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

GOOD = bag_tar({"a.txt": b"good" * 100, "b.txt": b"also good" * 100})


def flipped(content: bytes) -> bytes:
    """The tar with one byte of a payload file changed."""
    at = content.index(b"goodgoodgood")
    return content[:at] + b"G" + content[at + 1 :]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"This is no package at all." * 50, "container"),
        (GOOD[: len(GOOD) // 3], "truncated"),
        (flipped(GOOD), "digest"),
    ],
    ids=["not a bag", "truncated", "flipped byte"],
)
def test_a_bad_package_is_rejected_with_reasons_and_kept(
    stack: Stack, tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "package.tar"
    path.write_bytes(content)
    done = stack.command("deposit", str(path), "--watch")
    assert done.returncode == 1, done.stdout
    archive = done.stdout.split()[1]
    document = stack.archive(archive)
    assert document["state"] == "rejected"
    (step,) = stack.steps(archive)
    assert step["state"] == "failed"
    assert step["error"]["code"] in done.stdout
    assert step["error"]["message"] in done.stdout
    assert step["findings"], words
    (sip,) = document["packages"]
    assert sip["accepted"] is False
    kept = tmp_path / "kept"
    fetched = stack.command("fetch", archive, "--package", sip["id"], "-o", str(kept))
    assert fetched.returncode == 0, fetched.stderr
    assert kept.read_bytes() == content
    events = stack.api.get(f"/archives/{archive}/events").json()["items"]
    assert any("fail" in str(event) for event in events)


def test_a_zip_cut_short_is_rejected(stack: Stack) -> None:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("bag/bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    document = stack.finished(stack.deposit(buffer.getvalue()[:-10], "cut.zip"))
    assert document["state"] == "rejected"


def test_what_is_not_what_was_announced_is_rejected(stack: Stack) -> None:
    archive = stack.deposit(GOOD, sha256="0" * 64)
    assert stack.finished(archive)["state"] == "rejected"
    assert stack.steps(archive)[0]["error"]["code"] == "checksum-not-as-announced"


def test_a_source_nobody_knows_is_refused(stack: Stack) -> None:
    done = stack.command("harvest", "https://example.org/some/page", "--watch")
    assert done.returncode != 0
    assert "source" in (done.stdout + done.stderr).lower()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as upstream:
        yield upstream


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=404, body=b'{"status": 404}'), "upstream-not-found"),
        (Reply(status=200, body=b"<html>Sign in</html>", headers={"Content-Type": "text/html"}), None),
    ],
    ids=["404", "HTML instead of a record"],
)
def test_an_upstream_that_has_no_record(stack: Stack, upstream: Upstream, reply: Reply, code: str | None) -> None:
    upstream.add("/api/records/abcde-12345", reply)
    done = stack.command("harvest", f"{upstream.base}/records/abcde-12345", "--watch")
    assert done.returncode == 1, done.stdout + done.stderr
    archive = done.stdout.split()[1]
    (step,) = stack.steps(archive)
    assert step["state"] == "failed"
    assert code is None or step["error"]["code"] == code
    assert stack.archive(archive)["packages"] == []


def test_an_upstream_that_recovers_is_harvested_in_the_end(stack: Stack, upstream: Upstream) -> None:
    record = invenio.publish(upstream, "fghij-67890", {"a.txt": b"worth the wait"})
    path = "/api/records/fghij-67890"
    upstream.add(path, Reply(status=500, body=b"oops"), Reply(status=503, body=b"soon"), upstream.answer(path))
    archive = str(stack.api.post("/harvests", json={"url": record}).json()["archive"])

    def complained() -> str | None:
        step = stack.steps(archive)[0]
        return step["error"]["message"] if step["error"] else step["state"] if step["finished"] else None

    assert stack.until(complained, 30)
    assert stack.finished(archive, 120)["state"] == "completed", stack.steps(archive)
