"""RO-Crate in: a package that holds one becomes a record that says what the crate says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perdura.clients.inveniordm.records import Records
from perdura.ids import new_id
from perdura.outcome import ArchiveView, Outcome, StepState, StepView
from perdura.steps import preserve, publish
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.ports import AT, ports_for
from tests.contract.test_inveniordm.world import Target
from tests.unit.preserve.fakes import ports
from tests.unit.preserve.submissions import bag, deposit, zipped

CRATE = {
    "@context": "https://w3id.org/ro/crate/1.1/context",
    "@graph": [
        {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"},
         "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}},
        {"@id": "./", "@type": ["Dataset", "LearningResource"], "name": "Beam profiles of 2024",
         "description": "What we saw.",
         "datePublished": "2024-03-05", "version": 3, "author": [{"@id": "https://orcid.org/0000-0002-1825-0097"}],
         "publisher": {"@id": "https://ror.org/01ggx4157"}, "license": {"@id": "https://spdx.org/licenses/CC-BY-4.0"},
         "keywords": "beams, profiles", "inLanguage": {"@id": "#english"}, "identifier": "https://doi.org/10.1234/beams",
         "hasPart": [{"@id": "profile.csv"}], "interactivityType": "expositive"},
        {"@id": "https://orcid.org/0000-0002-1825-0097", "@type": "Person", "givenName": "Josiah",
         "familyName": "Carberry", "name": "Josiah Carberry", "email": "josiah@example.org",
         "affiliation": {"@id": "https://ror.org/01ggx4157"}},
        {"@id": "https://ror.org/01ggx4157", "@type": "Organization", "name": "CERN"},
        {"@id": "https://spdx.org/licenses/CC-BY-4.0", "@type": "CreativeWork", "name": "CC BY 4.0"},
        {"@id": "#english", "@type": "Language", "name": "English", "code": "en"},
        {"@id": "profile.csv", "@type": "File", "name": "One profile"},
    ],
}  # fmt: skip
PAYLOAD = {
    "a deposit": {"data/ro-crate-metadata.json": json.dumps(CRATE).encode(), "data/profile.csv": b"t,x\n0,1\n",
                  "data/parts/ro-crate-metadata.json": json.dumps(CRATE).replace("Beam profiles", "A part").encode()},
    "a SIP": {"data/content/ro-crate-metadata.json": json.dumps(CRATE).encode(), "data/content/a.csv": b"t,x\n0,1\n",
              "data/meta/sip.json": b'{"source": "local", "recid": "1", "contentFiles": []}'},
}  # fmt: skip


def published(target: Target, payload: dict[str, bytes], access: Path) -> Outcome:
    """A submission with that payload, preserved by the built-in engine and published."""
    store = MemoryStore()
    submission = deposit(store, zipped(bag(payload)))
    made = preserve.run(submission, ports(store))
    assert made.state is StepState.COMPLETED, made.message
    packages = tuple(replace(each, id=new_id()) for each in made.packages)
    step = StepView(new_id(), "publish", 1, created_at=AT)
    archive = ArchiveView(new_id(), step, title="A deposit", packages=packages, created_at=AT)
    return publish.run(archive, ports_for(store, access, None, step.id), lambda destination: target.wire())


@pytest.mark.parametrize("kind", PAYLOAD)
def test_a_package_that_holds_a_crate_becomes_a_record_of_what_it_says(
    target: Target, access: Callable[..., Path], kind: str
) -> None:
    outcome = published(target, PAYLOAD[kind], access())
    assert outcome.state is StepState.COMPLETED, outcome.message
    told = outcome.output["destinations"]["library"]
    assert told["metadata_from"] == "RO-Crate"
    with target.wire() as wire:
        record = Records(wire).record(told["record"])
    assert record is not None
    metadata = record.metadata
    assert (metadata["title"], metadata["description"], metadata["version"]) == (
        "Beam profiles of 2024",
        "What we saw.",
        "3",
    )
    assert (metadata["publication_date"], metadata["publisher"]) == ("2024-03-05", "CERN")
    assert metadata["resource_type"]["id"] == "dataset"
    who = metadata["creators"][0]
    assert (who["person_or_org"]["family_name"], who["person_or_org"]["given_name"]) == ("Carberry", "Josiah")
    assert who["person_or_org"]["identifiers"] == [{"scheme": "orcid", "identifier": "0000-0002-1825-0097"}]
    assert who["affiliations"][0]["name"] == "CERN"
    assert metadata["rights"][0]["title"] == {"en": "CC BY 4.0"}
    assert [entry["subject"] for entry in metadata["subjects"]] == ["beams", "profiles"]
    assert [entry["id"] for entry in metadata["languages"]] == ["eng"]
    assert {"scheme": "doi", "identifier": "10.1234/beams"} in metadata["identifiers"]
    left = " ".join(f"{finding.path} {finding.message}" for finding in outcome.findings)
    for value in ("LearningResource", "josiah@example.org", "expositive"):
        assert value in left
