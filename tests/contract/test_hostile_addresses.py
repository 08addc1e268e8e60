"""Addresses that are none, wherever a repository or a user may write one: refused by name, never an error of ours."""

from __future__ import annotations

import json

import pytest

from perdura.clients.http import HttpClient, recorded, redacted
from perdura.clients.reach import Reach
from perdura.errors import PerduraError, Rejected
from perdura.outcome import StepState
from perdura.settings import Settings
from perdura.sources.catalogue import by_id, recognise
from perdura.sources.link_header import parse_header, parse_linkset
from perdura.sources.marcxml import files_of, read
from perdura.sources.resolve import preview
from perdura.steps import harvest
from tests.unit.harvest.surroundings import Harvesting
from tests.upstreams.invenio import publish
from tests.upstreams.server import Reply, Upstream

NONE = "http://[none"
SETTINGS = Settings(allow_loopback_upstreams=True)


@pytest.mark.parametrize("given", [NONE, "s3://[none/a/", "http://[::1/records/1", "https://user@[x/records/1"])
def test_a_user_is_told(given: str) -> None:
    with pytest.raises(Rejected):
        preview(given, SETTINGS)


def test_the_address_of_an_instance_too() -> None:
    with pytest.raises(Rejected):
        by_id("demo", "rec-1", SETTINGS, base_url=NONE)


def test_it_is_recorded_without_its_secrets() -> None:
    assert redacted("http://me:secret@[none/a?token=b") == "[none/a"
    assert recorded((("location", NONE),)) == (("location", NONE),)


def test_a_redirect_to_it_is_refused(upstream: Upstream) -> None:
    upstream.add("/a", Reply(status=302, headers={"Location": NONE}))
    reach = Reach(frozenset({"127.0.0.1"}), allow_loopback=True)
    with HttpClient(reach, user_agent="tests") as client, pytest.raises(PerduraError) as caught:
        client.get(f"{upstream.base}/a")
    assert isinstance(caught.value, Rejected)


def test_a_record_that_lists_a_file_there_is_not_harvested(upstream: Upstream) -> None:
    world = Harvesting(settings=SETTINGS)
    url = publish(upstream, "rec-1", {"data.csv": b"1,2"})
    listed = json.loads(upstream.answer("/api/records/rec-1/files").body)
    listed["entries"][0]["links"]["content"] = NONE
    upstream.add("/api/records/rec-1/files", Reply(json.dumps(listed).encode()))
    outcome = harvest.run(world.archive({"url": url}), world.ports())
    assert outcome.state is StepState.FAILED
    assert outcome.error_code == "destination-refused"


def test_links_that_are_none_stay_what_they_are() -> None:
    (link,) = parse_header(f'<{NONE}>; rel="item"', "https://example.org/1")
    assert link.target == NONE
    linkset = {"linkset": [{"anchor": NONE, "item": [{"href": "a"}]}]}
    assert parse_linkset(json.dumps(linkset).encode(), "https://example.org/1", "https://example.org/1") == []


def test_a_marc_field_with_it_is_named_as_skipped() -> None:
    marc, _ = read(
        b'<record xmlns="http://www.loc.gov/MARC21/slim"><datafield tag="856" ind1="4" ind2=" ">'
        b'<subfield code="u">http://[none/a.pdf</subfield></datafield></record>',
        "CDS",
    )
    record = recognise("https://cds.cern.ch/record/1", SETTINGS)
    with HttpClient(Reach(frozenset({"cds.cern.ch"})), user_agent="tests") as client:
        files, skipped = files_of(marc, record.base_url, client)
    assert not files
    assert [each.reason for each in skipped] == ["The address is not a valid URL."]
