"""What earlier invocations verified of an AIP, read by those that go on."""

from __future__ import annotations

from perdura.steps.receipts import Receipts
from perdura.storage.memory import MemoryStore
from tests.unit.preserve.fakes import ports


def test_a_receipt_of_ours_that_is_lost_has_its_part_read_again_and_condemns_nothing() -> None:
    assert list(Receipts("v/first-", ("v/first-0000",), ports(MemoryStore())).earlier()) == []
