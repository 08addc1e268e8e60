"""Moods of an InvenioRDM that only the fake can be put into: an index that lags, and no registration of DOIs."""

from __future__ import annotations

import pytest

from perdura.clients.inveniordm.wire import RdmUnknown
from perdura.errors import Broken
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.world import Died, Package, Target

LAG = 1.0
"""Seconds after which OpenSearch shows what was written, by default."""


@pytest.fixture
def target(fake: Fake) -> Target:
    return Target(fake.url, TOKENS, fake.transport, fake)


def test_an_index_that_lags_makes_no_second_record(target: Target, fake: Fake) -> None:
    """A lost answer is settled after a wait longer than the lag; a record that was noted is never searched for."""
    lost, noted = Package(), Package()
    fake.lagging = True
    with pytest.raises(RdmUnknown) as error:
        target.publish(lost, wire=target.wire(after=2, lose=True))
    assert error.value.retry_after > LAG
    with pytest.raises(Died):
        target.publish(noted, wire=target.wire(after=4))
    assert target.publish(noted).record.published
    fake.refresh()
    target.publish(lost)
    fake.refresh()
    for package in (lost, noted):
        assert len(target.published(package.resource)) == 1
        assert target.drafts(package.resource) == []


def test_an_instance_without_dois_is_told_from_an_outage(target: Target, fake: Fake) -> None:
    fake.registers_dois = False
    doi = {"pids": {"doi": {"identifier": "10.1234/perdura.1", "provider": "external"}}}
    with pytest.raises(Broken, match="does not register DOIs") as refused:
        target.publish(Package(more=doi))
    assert refused.value.code == "external-doi-refused"
