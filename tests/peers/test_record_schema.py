"""InvenioRDM's own schema, in its own process, accepts what the mapper makes of every sample of the reference data."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from perdura.clients.destinations import Destination
from perdura.ids import new_id
from perdura.outcome import ArchiveView, Package, PackageKind, StepView
from perdura.steps.mapping.choose import merged, read
from perdura.steps.mapping.other import short_description
from perdura.steps.publish_body import Facts, body
from tests.contract.test_inveniordm.ports import AT
from tests.peers.inveniordm import peer
from tests.unit.publish.documents import DOCUMENTS
from tests.unit.publish.test_nothing_lost import completed

SAMPLES = Path(__file__).parents[3] / "shared/reference/data"
NAMING = ("custom-fields", "identifiers")

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="../shared is not here")

TELL_OF_NO_RECORD = (
    "*.headers.json",
    "upstreams/codimd/*.json",
    "upstreams/gitlab/*.json",
    "*/content/metadata-gitlab-*.json",
    "*-redirect.json",
    "*/v14-files.json",
    "*linkset*",
    "*geo+json*",
    "upstreams/oai-pmh/error-*.xml",
    "upstreams/oai-pmh/identif*.xml",
    "upstreams/oai-pmh/metadataformats.xml",
    "upstreams/oai-pmh/sets.xml",
)
"""Answers about files, links, projects and protocols."""

TOLD_BETTER_BY_OTHERS = ("*schemaorg.jsonld", "*/ld+json.json", "*csl+json*", "*dcat*")
"""Forms of a record that an InvenioRDM gives, beside JSON that tells all of it."""


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
    for recording in sorted((SAMPLES / "inveniordm-api").glob("*-record-formats.*.jsonl")):
        yield from answers(recording)


def answers(recording: Path) -> Iterator[tuple[str, bytes]]:
    """One record in every form in which its server gives it in JSON or XML."""
    for line in recording.read_text().splitlines():
        exchange = json.loads(line)
        request, response = exchange["request"], exchange["response"]
        form = (request.get("headers") or {}).get("Accept", "").removeprefix("application/")
        if request["method"] == "GET" and response["status"] == 200 and form.endswith(("json", "xml")):
            told = json.dumps(response["json"]) if "json" in response else response["text"]
            yield f"{recording.name}/{form}.{'xml' if form.endswith('xml') else 'json'}", told.encode()


def test_what_is_not_mapped_tells_of_no_record_or_is_told_better_by_others() -> None:
    left = [name for name, data in documents() if read(name, data) is None]
    patterns = (*TELL_OF_NO_RECORD, *TOLD_BETTER_BY_OTHERS)
    assert [name for name in left if not any(fnmatchcase(name, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in left)] == []


@pytest.mark.peers
@pytest.mark.timeout(1800)
def test_every_sample_becomes_a_record_that_the_schema_accepts() -> None:
    """As a step maps it: what the registry knows fills the gaps, and is all there is where nothing else tells."""
    try:
        python = peer.install()
    except peer.Unavailable as error:
        pytest.skip(str(error))
    names, lines = [], []
    for name, data in documents():
        for naming in NAMING:
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
            told = read(name, data)
            known = short_description(archive.metadata, archive.title)
            mapped = merged([known] if told is None else [known, told])
            record = body(mapped, facts, destination, files=True)
            record.pop("custom_fields", None)  # an instance declares those; the schema alone knows none
            names.append(f"{name} [{mapped.form}]")
            lines.append(json.dumps(record))
    assert len(names) >= 200
    assert [(name, said) for name, said in zip(names, judged(python, lines), strict=True) if said] == []


def judged(python: Path, lines: Sequence[str]) -> list[Any]:
    """What the schema has to say against each record."""
    program = [str(python), str(peer.SERVER / "check_records.py")]
    done = subprocess.run(program, input="\n".join(lines), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.peers
@pytest.mark.timeout(1800)
def test_whatever_documents_say_becomes_a_record_that_the_schema_accepts() -> None:
    try:
        python = peer.install()
    except peer.Unavailable as error:
        pytest.skip(str(error))
    made: list[str] = []

    @given(st.lists(DOCUMENTS, min_size=1, max_size=2))
    @settings(max_examples=100, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def make(documents: list[tuple[str, bytes]]) -> None:
        _, record = completed(documents)
        made.append(json.dumps(record))

    make()
    assert [(record, said) for record, said in zip(made, judged(python, made), strict=True) if said] == []
