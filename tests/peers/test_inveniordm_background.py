"""A real InvenioRDM whose background tasks take their time: what it computes or fetches is waited for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from perdura.clients.inveniordm.files import Files
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import Wire
from perdura.steps.publish_found import look
from perdura.steps.publish_record import Done, Publisher
from perdura.steps.publish_sent import AtWork
from perdura.steps.publish_wanted import Sending
from tests.contract.test_inveniordm.world import Package, Target, md5s
from tests.peers.inveniordm.peer import Peer
from tests.peers.inveniordm.storage import storage

pytestmark = [pytest.mark.peers, pytest.mark.timeout(1800)]


def quick(**more: Any) -> Sending:
    """How files are sent by somebody who never sleeps."""
    return Sending(multipart_above=2**20, part_size=10**6, wait=lambda seconds: None, **more)


@pytest.fixture
def target(inveniordm: Peer) -> Iterator[Target]:
    """The server with tasks that wait until somebody works, and as it was afterwards."""
    inveniordm.restart(RDM_BACKGROUND="1")
    try:
        yield Target(inveniordm.url, inveniordm.tokens, httpx.HTTPTransport)
    finally:
        inveniordm.restart()


def stored(wire: Wire, record: str) -> Mapping[str, Any]:
    """What the draft tells of its files, by key."""
    told = wire.json("GET", f"/api/records/{record}/draft/files")
    return {entry["key"]: entry for entry in told["entries"]}


def published(peer: Peer, publish: Any) -> Done:
    """Publish again and again while the server works."""
    peer.work()
    until = time.monotonic() + 120
    while True:
        try:
            return publish()
        except AtWork:
            assert time.monotonic() < until
            time.sleep(1)


def test_an_md5_that_it_computes_in_the_background_is_waited_for(inveniordm: Peer, target: Target) -> None:
    package = Package(files={"big.bin": os.urandom(2_500_000), "small.txt": b"x"}, sending=quick())
    with target.wire() as wire:
        before: Mapping[str, Any] = {}
        for _ in range(2):
            with pytest.raises(AtWork) as work:
                target.publish(package)
            assert work.value.keys == ["big.bin"]
            assert package.known is not None
            now = stored(wire, package.known)
            assert not str(now["big.bin"].get("checksum") or "").startswith("md5:")
            assert before in ({}, now)
            before = now
    done = published(inveniordm, lambda: target.publish(package))
    assert target.digests(done.record.id) == md5s(package.files)


def test_a_fetch_that_it_does_in_the_background_is_waited_for(inveniordm: Peer, target: Target) -> None:
    data = os.urandom(300_000)
    package = Package(files={"aip.tar": data}, sending=quick(fetch=True))
    link = f"http://127.0.0.1:{inveniordm.transfer_port}/aip.tar?signature=secret"

    def publish() -> Done:
        order = package.order()
        order.files[0].link = lambda: link
        with target.wire("admin") as wire:
            found = look(Records(wire), order.sought, package.known)
            return Publisher(wire, order, package.note, lambda: None).publish(found, package.known)

    with storage(inveniordm.transfer_port, data) as asked, target.wire("admin") as wire:
        for _ in range(2):
            with pytest.raises(AtWork):
                publish()
            assert package.known is not None
            entry = stored(wire, package.known)["aip.tar"]
            assert (entry["status"], entry["transfer"]["type"], asked) == ("pending", "F", [])
        done = published(inveniordm, publish)
        (file,) = Files(wire).list(done.record.id, draft=False)
    assert (file.md5, len(asked)) == (md5s(package.files)["aip.tar"], 1)
