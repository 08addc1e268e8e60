"""Limits of a real InvenioRDM: its rate limit with and without other callers, and its quotas."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from perdura.clients.inveniordm.wire import RdmRefused, Wire
from perdura.errors import Retryable
from tests.contract.test_inveniordm.world import FILES, Package, Target, md5s
from tests.peers.inveniordm.peer import Peer

pytestmark = [pytest.mark.peers, pytest.mark.timeout(1800)]


@contextmanager
def limited(peer: Peer, **settings: str) -> Iterator[Target]:
    """The server with other limits, and as it was afterwards."""
    peer.restart(**settings)
    try:
        yield Target(peer.url, peer.tokens, httpx.HTTPTransport)
    finally:
        peer.restart()


def patient(target: Target, package: Package, met: Counter[str]) -> None:
    """Publish as deliveries do: whatever is turned away comes again when the server said, from the beginning."""
    for _ in range(100):
        try:
            with Wire(target.url, target.tokens["publisher"]) as wire:
                target.publish(package, wire=wire)
        except Retryable as error:
            met["given back"] += 1
            time.sleep(min(error.retry_after or 1, 10))
        else:
            met["published"] += 1
            return


def test_a_rate_limit_is_kept_to_with_and_without_a_storm_of_others(inveniordm: Peer) -> None:
    """Alone a worker waits as it is told; in a storm of other callers of its user the work is given back, and done."""
    with limited(inveniordm, RDM_RATELIMIT_USER="15 per 10 second") as target:
        alone, met = [Package() for _ in range(2)], Counter[str]()
        for package in alone:
            patient(target, package, met)
        assert met["published"] == 2

        stop, raging, turned_away = threading.Event(), threading.Event(), Counter[int]()

        def storm() -> None:
            headers = {"Authorization": f"Bearer {target.tokens['publisher']}"}
            with httpx.Client(base_url=target.url, headers=headers, timeout=30) as client:
                while not stop.wait(2 if turned_away[429] else 0):
                    turned_away[client.get("/api/user/records?size=1").status_code] += 1
                    if turned_away[429]:
                        raging.set()

        together, stormed = [Package() for _ in range(2)], Counter[str]()
        callers = [threading.Thread(target=storm)]
        callers += [threading.Thread(target=patient, args=(target, package, stormed)) for package in together]
        callers[0].start()
        assert raging.wait(120)
        for caller in callers[1:]:
            caller.start()
        for caller in callers[1:]:
            caller.join()
        stop.set()
        callers[0].join()
        assert stormed["published"] == 2, stormed
    target = Target(inveniordm.url, inveniordm.tokens, httpx.HTTPTransport)
    for package in (*alone, *together):
        (record,) = target.published(package.resource)
        assert target.digests(record.id) == md5s(FILES)
        assert target.drafts(package.resource) == []


@pytest.mark.parametrize(
    ("limit", "words"),
    [("RDM_QUOTA", "Bucket quota exceeded"), ("RDM_MAX_FILE_SIZE", "Maximum file size exceeded")],
)
def test_what_is_over_a_quota_fails_in_the_servers_words_and_is_mended_by_a_larger_one(
    inveniordm: Peer, limit: str, words: str
) -> None:
    package = Package()
    with limited(inveniordm, **{limit: "5000"}) as target:
        for _ in range(2):
            with pytest.raises(RdmRefused, match=words):
                target.publish(package)
        assert target.published(package.resource) == []
    target = Target(inveniordm.url, inveniordm.tokens, httpx.HTTPTransport)
    done = target.publish(package)
    assert target.digests(done.record.id) == md5s(FILES)
    assert [record.id for record in target.published(package.resource)] == [done.record.id]
    assert target.drafts(package.resource) == []
