"""Embargo, restriction and withdrawal on an InvenioRDM: what was shut here is never open there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perdura.clients.inveniordm.records import Records
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.fake import Fake
from tests.contract.test_inveniordm.ports import preserved
from tests.contract.test_inveniordm.test_step import FILES, run
from tests.contract.test_inveniordm.world import Package, Target


def access_of(target: Target, record: str) -> Any:
    """Who may see a record and its files."""
    with target.wire() as wire:
        found = Records(wire).record(record)
    assert found is not None
    return found.access


@pytest.mark.parametrize(
    ("policy", "restricted"),
    [
        ({"restricted": "restrict"}, True),
        ({"record_access": "restricted"}, False),
        ({"files_access": "restricted"}, False),
    ],
)
def test_what_is_restricted_anyhow_stays_so_when_its_embargo_ends(
    target: Target, access: Callable[..., Path], policy: dict[str, str], restricted: bool
) -> None:
    store = MemoryStore()
    archive = preserved(store, FILES, restricted=restricted)
    archive = replace(archive, metadata={**archive.metadata, "embargo_until": "2990-01-01"})
    record = run(target, store, archive, access(**policy)).output["destinations"]["library"]["record"]
    assert not (access_of(target, record).get("embargo") or {}).get("active")
    if target.server is not None:
        target.server.lift_embargoes("2990-01-02")
    assert access_of(target, record)["files"] == "restricted"


def test_the_fake_opens_what_is_restricted_when_an_embargo_ends_as_the_server_does(fake: Fake) -> None:
    target = Target(fake.url, {"publisher": "token-publisher"}, fake.transport, fake)
    embargo = {"active": True, "until": "2990-01-01", "reason": ""}
    shut = {"access": {"record": "restricted", "files": "restricted", "embargo": embargo}}
    record = target.publish(Package(more=shut)).record.id
    fake.lift_embargoes("2990-01-02")
    assert (access_of(target, record)["record"], access_of(target, record)["files"]) == ("public", "public")
