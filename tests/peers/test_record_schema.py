"""InvenioRDM's own schema, in its own process, accepts what the mapper makes of every sample of the reference data."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdura.clients.destinations import Destination
from perdura.ids import new_id
from perdura.outcome import ArchiveView, Package, PackageKind, StepView
from perdura.steps.mapping.choose import read
from perdura.steps.publish_body import Facts, body
from tests.contract.test_inveniordm.ports import AT
from tests.peers.inveniordm import peer

SAMPLES = Path(__file__).parents[3] / "shared/reference/data"
NAMING = ("custom-fields", "identifiers")

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="../shared is not here"),
]


def documents() -> Iterator[tuple[str, bytes]]:
    """Every document of the reference data that may describe a record."""
    for path in sorted((SAMPLES / "upstreams").rglob("*")):
        if path.suffix in (".json", ".xml", ".jsonld"):
            yield str(path.relative_to(SAMPLES)), path.read_bytes()
    for bag in sorted((SAMPLES / "sip-samples/bags").glob("*.zip")):
        with zipfile.ZipFile(bag) as opened:
            for name in opened.namelist():
                if name.endswith((".json", ".xml")) and ("/meta/" in name or "/metadata" in name):
                    yield f"{bag.name}:{name}", opened.read(name)


def test_every_sample_becomes_a_record_that_the_schema_accepts() -> None:
    try:
        python = peer.install()
    except peer.Unavailable as error:
        pytest.skip(str(error))
    names, lines = [], []
    for name, data in documents():
        for naming in NAMING:
            mapped = read(name, data)
            if mapped is None:
                continue
            destination = Destination(
                id="x", type="inveniordm", url="https://rdm.test", token={"env": "X"}, naming=naming
            )
            aip = Package(new_id(), PackageKind.AIP, "aips", "key", "tar", 5, checksums={"sha256": "ab"})
            step = StepView(new_id(), "publish", 1)
            archive = ArchiveView(
                new_id(), step, title="T", source="cds", recid="1", metadata={"url": "https://a.test"}
            )
            page = "https://access.test/archives/1"
            facts = Facts(archive, aip, ["PNG"], ["1 file"], AT, "Archive", page, page)
            told = body(mapped, facts, destination, files=True)
            told.pop("custom_fields", None)  # an instance declares those; the schema alone knows none
            names.append(f"{name} [{mapped.form}]")
            lines.append(json.dumps(told))
    program = [str(python), str(peer.SERVER / "check_records.py")]
    done = subprocess.run(program, input="\n".join(lines), capture_output=True, text=True, check=True)
    complaints = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(complaints) == len(names) >= 120
    assert [(name, said) for name, said in zip(names, complaints, strict=True) if said] == []
