"""A record of the demo's repository becomes a SIP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import bagit
import pytest

from perdura.local.upstream.records import records
from perdura.local.upstream.server import RepositoryServer
from perdura.outcome import PackageKind, StepState
from perdura.packages.package import Verdict
from perdura.packages.sources import StoredPrefix
from perdura.packages.verify import verify
from perdura.steps import harvest
from tests.unit.harvest.surroundings import Harvesting

RECORD = "3kf7w-x2p61"


@pytest.fixture
def repository() -> Iterator[str]:
    server = RepositoryServer(0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def unpack(world: Harvesting, folder: Path) -> None:
    for key in world.listing("sip/"):
        target = folder / key.removeprefix("sip/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(world.read(key))


def test_sip_is_a_valid_bag_with_the_bytes_of_the_upstream(repository: str, tmp_path: Path) -> None:
    world = Harvesting()
    outcome = harvest.run(world.archive({"url": f"{repository}/records/{RECORD}"}), world.ports())
    assert outcome.state is StepState.COMPLETED
    (package,) = outcome.packages
    assert (package.kind, package.container) == (PackageKind.SIP, "prefix")
    assert package.key.endswith("/sip/")
    unpack(world, tmp_path)
    bag = bagit.Bag(str(tmp_path))
    bag.validate()
    for file in records()[RECORD].files.values():
        assert (tmp_path / "data/content" / file.key).read_bytes() == file.data
    sip = json.loads((tmp_path / "data/meta/sip.json").read_bytes())
    assert (sip["source"], sip["recid"]) == ("demo", RECORD)
    assert {entry["bagpath"] for entry in sip["contentFiles"]} == {
        path for path in bag.entries if path.startswith("data/")
    }
    report = verify(StoredPrefix(world.store, package.bucket, package.key))
    assert (report.verdict, report.findings) == (Verdict.VALID, ())
    assert report.payload_files == len(records()[RECORD].files) + 5
    assert outcome.archive is not None
    assert outcome.archive.title == "Tide gauge readings, Étretat, March 2025"
    assert [event.type for event in outcome.events] == [
        "capture",
        "transfer",
        "message digest calculation",
        "fixity check",
    ]
