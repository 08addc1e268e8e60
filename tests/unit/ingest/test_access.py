"""What a submission says of who may see it holds from the moment it is accepted."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from perdura.outcome import ArchiveView, Outcome, StepState, StepView
from perdura.ports import Ports
from perdura.settings import Settings
from perdura.steps import ingest
from perdura.storage.memory import MemoryStore
from tests.corpus.cases import cern_sip
from tests.corpus.tree import as_archive, bag, with_tag_manifest
from tests.unit.preserve.fakes import FixedClock, NoDeadline, NoIntents, derived

FAR = 4_102_444_800
"""The first second of the year 2100."""
DUBLIN_CORE = b"""<dc xmlns="http://purl.org/dc/elements/1.1/"><rights>info:eu-repo/semantics/%s</rights>
<date>%s</date></dc>"""


def ingested(documents: dict[str, bytes], container: str = "tar", **metadata: Any) -> Outcome:
    """A deposit with these documents in its payload, after `ingest`."""
    store, archive = MemoryStore(), UUID(int=1)
    data = as_archive(with_tag_manifest(bag(documents)), container)
    store.put("perdura-incoming", "deposit", data)
    step = StepView(archive, "ingest", 1, {"bucket": "perdura-incoming", "key": "deposit"})
    ports = Ports(
        settings=Settings(),
        store=store,
        clock=FixedClock(),
        deadline=NoDeadline(),
        intents=NoIntents(),
        progress=lambda what, done, total: None,
        derived=derived,
    )
    return ingest.run(ArchiveView(archive, step, metadata=metadata), ports)


def found(outcome: Outcome) -> tuple[str | None, bool | None]:
    """The end of the embargo, and whether the Archive is restricted."""
    assert outcome.state in (StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS), outcome.message
    assert outcome.archive is not None
    return (outcome.archive.metadata or {}).get("embargo_until"), outcome.archive.restricted


def record(**values: Any) -> dict[str, bytes]:
    """A record of InvenioRDM as a description."""
    return {"data/meta/metadata.json": json.dumps(values).encode()}


def embargo(active: bool, until: str | None) -> dict[str, Any]:
    """Access of an InvenioRDM with an embargo."""
    return {"record": "public", "files": "restricted", "embargo": {"active": active, "until": until}}


@pytest.mark.parametrize("container", ["tar", "zip", "tar.gz"])
def test_an_embargo_that_a_submission_states_is_kept_with_its_archive(container: str) -> None:
    told = record(access=embargo(True, "2100-01-01"))
    assert found(ingested(told, container)) == ("2100-01-01", None)


def test_a_sip_json_of_very_many_files_is_read_and_one_that_is_too_large_restricts() -> None:
    files = cern_sip(created_by="x" * 5_000_000, **{"usr-meta": {"embargo_timestamp": FAR}})
    payload = {path: data for path, data in files.items() if path.startswith("data/")}
    assert found(ingested(payload)) == ("2100-01-01", None)
    assert found(ingested({"data/meta/sip.json": b" " * (16 * 2**20 + 1)})) == (None, True)


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (record(access={"record": "public", "files": "public"}), (None, None)),
        (record(access=embargo(False, "2001-01-01")), (None, True)),
        (record(access=embargo(True, "2001-01-01")), (None, None)),
        (record(access=embargo(True, None)), (None, True)),
        (record(access={"record": "public", "files": "restricted"}), (None, True)),
        (record(access={**embargo(True, "2100-01-01"), "record": "restricted"}), ("2100-01-01", True)),
        (record(metadata={"access_right": "closed"}), (None, True)),
        (record(metadata={"access_right": "embargoed", "embargo_date": "2100-01-01"}), ("2100-01-01", None)),
        (record(access=["nonsense"], metadata=7), (None, None)),
        ({"data/datacite.json": b'{"dates": [{"dateType": "Available", "date": "2100-01-01"}]}'}, ("2100-01-01", None)),
        ({"data/meta/metadata.xml": DUBLIN_CORE % (b"openAccess", b"2100-01-01")}, (None, None)),
        ({"data/meta/metadata.xml": DUBLIN_CORE % (b"closedAccess", b"2020")}, (None, True)),
        ({"data/meta/metadata.xml": DUBLIN_CORE % (b"embargoedAccess", b"2020")}, (None, True)),
        (
            {"data/meta/metadata.xml": DUBLIN_CORE % (b"embargoedAccess", b"info:eu-repo/date/embargoEnd/2100-01-01")},
            ("2100-01-01", None),
        ),
    ],
)
def test_descriptions_decide_who_may_see_an_archive(
    documents: dict[str, bytes], expected: tuple[str | None, bool | None]
) -> None:
    assert found(ingested(documents)) == expected


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (FAR, ("2100-01-01", None)),
        (str(FAR), (None, True)),
        ("2100-01-01", ("2100-01-01", None)),
        ("when the author is dead", (None, True)),
        (10**18, (None, True)),
        (1_000_000_000, (None, None)),
        (None, (None, None)),
        ([], (None, None)),
    ],
)
def test_the_embargo_of_a_sip_json_holds(stated: Any, expected: tuple[str | None, bool | None]) -> None:
    sip = cern_sip(**{"usr-meta": {"embargo_timestamp": stated}})
    assert found(ingested({path: data for path, data in sip.items() if path.startswith("data/")})) == expected


def test_a_sip_json_that_is_nested_too_deeply_to_be_read_is_refused_by_name() -> None:
    outcome = ingested({"data/meta/sip.json": b'{"a":' * 100_000 + b"1" + b"}" * 100_000})
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "sip-json-malformed")


def test_the_stricter_of_all_that_is_stated_holds() -> None:
    told = {
        **record(access=embargo(True, "2090-01-01")),
        "data/datacite.json": b'{"dates": [{"dateType": "Available", "date": "2095-01-01"}]}',
    }
    assert found(ingested(told)) == ("2095-01-01", None)
    assert found(ingested(told, embargo_until="2100-01-01")) == (None, None)
    assert found(ingested(told, embargo_until="2092-01-01")) == ("2095-01-01", None)


def test_an_end_that_cannot_be_read_is_said() -> None:
    outcome = ingested(record(access=embargo(True, None)))
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert [finding.code for finding in outcome.findings if finding.severity == "warning"][-1] == (
        "restricted-by-submission"
    )
