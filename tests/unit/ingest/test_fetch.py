"""Holey bags: refused unless the operator names hosts, then completed as the manifests declare it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from perdura.errors import UpstreamUnavailable
from perdura.outcome import ArchiveView, Outcome, StepState, StepView
from perdura.ports import Ports
from perdura.settings import Settings
from perdura.steps import ingest, ingest_units
from perdura.storage.memory import MemoryStore
from tests.corpus.tree import Files, as_archive, bag, with_tag_manifest
from tests.unit.preserve.fakes import FixedClock, NoDeadline, NoIntents, derived
from tests.upstreams.server import Reply, Upstream, serving

ABSENT = b"far away\n" * 50
PAYLOAD = {"data/here.txt": b"here\n", "data/there.txt": ABSENT}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        server.add("/there.txt", Reply(ABSENT))
        yield server


def holey(url: str, length: str = str(len(ABSENT)), **changes: Any) -> Files:
    files = bag(PAYLOAD, fetch_txt=f"{url} {length} data/there.txt\n".encode(), **changes)
    files = with_tag_manifest(files)
    del files["data/there.txt"]
    return files


def ingested(files: Files, hosts: str = "127.0.0.1", *, deadline: Any = None, loopback: bool = True) -> Outcome:
    store = MemoryStore()
    return ingested_into(store, files, hosts, deadline=deadline, loopback=loopback)


def ingested_into(
    store: MemoryStore,
    files: Files,
    hosts: str,
    *,
    deadline: Any = None,
    loopback: bool = True,
    unit_bytes: int = 2**40,
    **step: Any,
) -> Outcome:
    data = as_archive(files, "zip")
    store.put("perdura-incoming", "d", data)
    told = {"bucket": "perdura-incoming", "key": "d", "expected_sha256": hashlib.sha256(data).hexdigest()}
    archive = ArchiveView(UUID(int=1), StepView(UUID(int=2), "ingest", 1, told, **step))
    ports = Ports(
        settings=Settings(fetch_hosts=hosts, allow_loopback_upstreams=loopback, verify_unit_bytes=unit_bytes),
        store=store,
        clock=FixedClock(),
        deadline=deadline or NoDeadline(),
        intents=NoIntents(),
        progress=lambda what, done, total: None,
        derived=derived,
    )
    return ingest.run(archive, ports)


def test_nothing_is_fetched_by_default(upstream: Upstream) -> None:
    outcome = ingested(holey(f"{upstream.base}/there.txt"), hosts="")
    assert outcome.error_code == "fetch-incomplete"
    assert upstream.seen == []


def test_a_listed_host_completes_the_bag(upstream: Upstream) -> None:
    outcome = ingested(holey(f"{upstream.base}/there.txt"))
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert [finding.code for finding in outcome.findings] == ["fetch-present"]
    (sip,) = outcome.packages
    assert (sip.container, sip.accepted) == ("prefix", True)
    assert {file.path for _, files in outcome.files for file in files} == set(PAYLOAD)
    assert outcome.events[0].type == "transfer"
    assert "127.0.0.1" in outcome.events[0].details[0]


@pytest.mark.parametrize(
    ("body", "code"), [(ABSENT[:-1] + b"?", "checksum-mismatch"), (ABSENT + b"more", "size-mismatch")]
)
def test_other_bytes_than_declared_are_refused(upstream: Upstream, body: bytes, code: str) -> None:
    upstream.add("/there.txt", Reply(body))
    outcome = ingested(holey(f"{upstream.base}/there.txt"))
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, code)


def test_a_host_that_is_not_listed_is_never_asked(upstream: Upstream) -> None:
    outcome = ingested(holey(f"{upstream.base}/there.txt"), hosts="archive.example.org")
    assert outcome.error_code == "destination-refused"
    assert upstream.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x",
        "https://127.0.0.1:1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x",
        "https://user:secret@127.0.0.1/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
    ],
)
def test_addresses_that_are_not_public_are_refused_even_when_listed(url: str) -> None:
    outcome = ingested(holey(url), hosts="127.0.0.1 169.254.169.254 ::1", loopback=False)
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "destination-refused")
    assert "secret" not in str(outcome)


def test_a_redirect_is_not_followed(upstream: Upstream) -> None:
    upstream.add("/there.txt", Reply(status=302, headers={"Location": f"{upstream.base}/elsewhere"}))
    upstream.add("/elsewhere", Reply(ABSENT))
    outcome = ingested(holey(f"{upstream.base}/there.txt"))
    assert outcome.state is StepState.FAILED
    assert [seen.path for seen in upstream.seen] == ["/there.txt"]


def test_a_file_of_undeclared_length_is_not_fetched(upstream: Upstream) -> None:
    outcome = ingested(holey(f"{upstream.base}/there.txt", length="-"))
    assert outcome.error_code == "fetch-incomplete"
    assert upstream.seen == []


def test_a_file_that_no_manifest_lists_is_not_fetched(upstream: Upstream) -> None:
    files = holey(f"{upstream.base}/there.txt")
    files["fetch.txt"] = f"{upstream.base}/there.txt 5 data/unlisted.txt\n".encode()
    ingested(files)
    assert upstream.seen == []


def test_a_server_that_is_down_is_asked_again_later(upstream: Upstream) -> None:
    upstream.add("/there.txt", Reply(status=503))
    with pytest.raises(UpstreamUnavailable):
        ingested(holey(f"{upstream.base}/there.txt"))


def test_what_takes_too_long_goes_on_in_another_invocation(upstream: Upstream) -> None:
    class Late:
        looks = 2

        def near(self) -> bool:
            self.looks -= 1
            return self.looks < 0

    store, files = MemoryStore(), holey(f"{upstream.base}/there.txt")
    first = ingested_into(store, files, "127.0.0.1", deadline=Late())
    assert first.state is StepState.QUEUED
    second = ingested_into(store, files, "127.0.0.1", checkpoint=dict(first.checkpoint or {}))
    assert second.state is StepState.COMPLETED_WITH_WARNINGS


def test_a_completed_bag_that_is_large_is_verified_file_by_file(upstream: Upstream) -> None:
    outcome = ingested_into(MemoryStore(), holey(f"{upstream.base}/there.txt"), "127.0.0.1", unit_bytes=10)
    assert outcome.state is StepState.WAITING
    assert len(outcome.units) > 1
    assert ingest_units.WHOLE not in {unit.key for unit in outcome.units}, "it is no longer what was announced"
