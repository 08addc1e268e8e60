"""Several entries of the configuration for one access system: an Archive has one record there by any of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from perdura.ids import new_id
from perdura.outcome import StepState
from tests.contract.test_inveniordm.meanwhile import World
from tests.contract.test_inveniordm.test_protection import access_of
from tests.contract.test_inveniordm.test_step import FILES

pytestmark = pytest.mark.stack

Make = Callable[..., World]


def special(world: World, **policy: object) -> None:
    """Put an entry before the one there is, for the same system and those of one Collection."""
    values = {"id": "special", "type": "inveniordm", "url": world.target.url, "collections": ["Special"], **policy}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    entry = "\n".join(["[[destination]]", *lines, 'token = { env = "LIBRARY_TOKEN" }\n\n'])
    before = world.path.read_text()
    world.path = world.path.with_name(f"{new_id()}.toml")
    world.path.write_text(entry + before)


def join(world: World) -> None:
    """The Archive becomes a member of that Collection."""
    collection = new_id()
    with world.database.begin() as connection:
        connection.execute(
            text("INSERT INTO collection (id, name, description) VALUES (:id, 'Special', '')"), {"id": collection}
        )
        connection.execute(
            text("INSERT INTO collection_member (collection_id, archive_id) VALUES (:id, :archive)"),
            {"id": collection, "archive": world.archive.id},
        )


@pytest.mark.parametrize("content", ["metadata", "aip"])
def test_an_archive_that_another_entry_is_meant_for_since_keeps_its_record(made: Make, content: str) -> None:
    """The record stays what it was made; who may see it is as the entry says that is meant for it now."""
    world = made()
    record = world.publish().output["destinations"]["library"]["record"]
    special(world, content=content, record_access="restricted", files_access="restricted")
    join(world)
    for told in ({}, {"where": "published"}):
        world.archive = replace(world.archive, step=replace(world.archive.step, id=new_id(), input=told))
        outcome = world.publish()
        assert outcome.state is StepState.COMPLETED, outcome.message
        assert outcome.output["destinations"]["library"]["record"] == record
        assert list(world.placements.everywhere(world.archive.id)) == ["library"]
        assert access_of(world.target, record)["record"] == "restricted"
    (published,) = world.target.published(world.resource)
    assert (published.id, len(published.files)) == (record, len(FILES))


def test_what_was_withdrawn_comes_back_by_no_other_entry(made: Make) -> None:
    world = made()
    world.publish()
    world.withdraw("admin")
    special(world)
    join(world)
    outcome = world.publish()
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "access-system-record-withdrawn")
    assert world.target.published(world.resource) == []


def test_an_archive_without_a_record_is_published_by_the_first_entry(made: Make) -> None:
    world = made()
    special(world)
    join(world)
    assert list(world.publish().output["destinations"]) == ["special"]
