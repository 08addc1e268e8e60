"""Every recorded source harvested to the end, over HTTP, from the fixture server that answers as it did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bagit
import pytest

from perdura.clients.http import HttpClient, UpstreamRefused
from perdura.errors import UpstreamUnavailable
from perdura.outcome import Outcome, StepState
from perdura.settings import Settings
from perdura.sources import protocols
from perdura.sources.catalogue import Recognised
from perdura.steps import harvest
from tests.shared_data import reference_data
from tests.unit.harvest.surroundings import Harvesting
from tests.upstreams.replayed import Replayed
from tests.upstreams.server import Upstream, serving


def recorded_exchanges() -> list[dict[str, Any]]:
    """The answers behind bagit-create's recorded runs."""
    answers = json.loads(reference_data("sip-samples", "upstream-answers.json").read_text())
    for answer in answers:
        if "body_note" in answer:
            answer["body"] = b"x" * 65536
    return [*answers, *ilc_document(answers)]


def ilc_document(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The recorded record of CDS as the ILC Document Server has it, which runs the same software, with both files."""
    place = "http://ilcdoc.linearcollider.org/record/2728246"
    record = next(answer for answer in answers if answer["url"].endswith("2728246?of=xm"))
    body = record["body"].replace("https://cds.cern.ch", "http://ilcdoc.linearcollider.org")
    file = next(answer for answer in answers if answer["url"].endswith("CERN-THESIS-2020-092.pdf"))
    return [
        {**record, "url": f"{place}?of=xm", "body": body},
        {**file, "url": f"{place}/files/CERN-THESIS-2020-092.pdf"},
        {**file, "url": f"{place}/files/missing.pdf", "body": "there"},
    ]


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    with serving() as server:
        network = Replayed(server, recorded_exchanges())

        def client_for(record: Recognised, settings: Settings, **_: Any) -> HttpClient:
            reach = record.profile.reach(record.base_url, settings)
            return HttpClient(reach, user_agent="tests", network=network, sleep=lambda _: None)

        monkeypatch.setattr(protocols, "client_for", client_for)
        yield server
        network.close()


def run(world: Harvesting, source: str, recid: str) -> Outcome:
    return harvest.run(world.archive({"source": source, "recid": recid}), world.ports())


def bag(world: Harvesting, folder: Path) -> bagit.Bag:
    for key in world.listing("sip/"):
        target = folder / key.removeprefix("sip/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(world.read(key))
    return bagit.Bag(str(folder))


@pytest.mark.parametrize(
    ("source", "recid", "names"),
    [
        ("zenodo", "3911261", ["a:b?.txt", "data table.csv", "thesis.pdf"]),
        ("cds-rdm", "ab12c-de345", ["a:b?.txt", "data table.csv", "thesis.pdf"]),
        ("ilcdoc", "2728246", ["CERN-THESIS-2020-092.pdf", "missing.pdf"]),
        ("cds-videos", "9", ["v.mp4"]),
        ("cod", "1", ["x.root"]),
        ("indico", "1024767", ["slides.pdf", "slides_2.pdf"]),
        ("codimd", "abc", ["My Note.md", "My Note.pdf"]),
    ],
)
def test_it_becomes_a_valid_bag_with_every_file(
    upstream: Upstream, tmp_path: Path, source: str, recid: str, names: list[str]
) -> None:
    world = Harvesting(settings=Settings())
    outcome = run(world, source, recid)
    assert outcome.state in (StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS), outcome.message
    found = bag(world, tmp_path)
    found.validate()
    content = tmp_path / "data" / "content"
    assert sorted(path.name for path in content.rglob("*") if path.is_file()) == names
    sip = json.loads((tmp_path / "data/meta/sip.json").read_text())
    assert sip["source"] == source
    assert sip["recid"]
    for path in (path for path in content.rglob("*") if path.is_file()):
        digest = hashlib.sha512(path.read_bytes()).hexdigest()
        assert digest == found.entries[path.relative_to(tmp_path).as_posix()]["sha512"]
    assert {seen.method for seen in upstream.seen} == {"GET"}


@pytest.mark.parametrize(
    ("source", "recid", "code"),
    [
        ("zenodo-badsum", "badsum", "checksum-mismatch"),
        ("cds", "2728246", "upstream-not-found"),
        ("cds", "856", "size-mismatch"),
        ("cod", "2", "upstream-not-found"),
        ("indico", "77", "upstream-not-found"),
    ],
)
def test_what_bagit_create_took_for_success_is_a_failure(
    upstream: Upstream, tmp_path: Path, source: str, recid: str, code: str
) -> None:
    profiles = tmp_path / "sources.toml"
    profiles.write_text(_named("zenodo-badsum"))
    world = Harvesting(settings=Settings(harvest_profiles=str(profiles)))
    outcome = run(world, source, recid)
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, code)
    assert "sip/bagit.txt" not in world.listing()


@pytest.mark.parametrize(
    ("recid", "error", "code"),
    [
        ("404", UpstreamRefused, "upstream-not-found"),
        ("html", UpstreamRefused, "upstream-not-json"),
        ("429", UpstreamUnavailable, "upstream-unavailable"),
        ("err500", UpstreamUnavailable, "upstream-unavailable"),
    ],
)
def test_what_an_upstream_refuses_is_told_apart_from_what_may_pass(
    upstream: Upstream, tmp_path: Path, recid: str, error: type[Exception], code: str
) -> None:
    profiles = tmp_path / "sources.toml"
    profiles.write_text(_named("zenodo-words"))
    world = Harvesting(settings=Settings(harvest_profiles=str(profiles)))
    with pytest.raises(error) as caught:
        run(world, "zenodo-words", recid)
    assert getattr(caught.value, "code", None) == code


def _named(source: str) -> str:
    """Zenodo under a name whose ids may be words, as the recordings have them."""
    return f'[[source]]\nid = "{source}"\nname = "Recorded"\nprotocol = "inveniordm"\nbase_url = "https://zenodo.org"\n'
