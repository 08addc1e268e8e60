"""Strangers find Archives by what the access pages show of them, and by nothing else."""

from __future__ import annotations

import pytest
from werkzeug.test import Client

from tests.contract.test_api.world import World, bearer

HIDDEN = {
    "bag_info": [
        ["Contact-Email", "jane.hidden@ward7.example"],
        ["External-Description", "not shown beside the other"],
    ],
    "restricted_note": "zebrafish",
    "creators": [{"name": "Ada Lovelace", "email": "ada@ward7.example"}],
    "description": "On <b>engines</b>",
    "doi": "10.5281/zenodo.42",
}


@pytest.mark.parametrize("words", ["ward7", "zebrafish", "jane", "beside the other", "engines zebrafish", "embargo"])
def test_strangers_find_by_nothing_that_is_not_shown(
    world: World, reader: Client, registry: Client, words: str
) -> None:
    archive = str(world.published(title="Plain", metadata_=HIDDEN | {"note": "embargo"}))
    assert archive not in reader.get("/archives", query_string={"q": words}).text
    assert archive in registry.get("/api/v1/archives", query_string={"q": words}, headers=bearer()).text


@pytest.mark.parametrize("words", ["plain", "engin", "lovelace ada", "10.5281/zenodo.42", "Plain love"])
def test_strangers_find_by_all_that_is_shown(world: World, reader: Client, words: str) -> None:
    archive = str(world.published(title="Plain", metadata_=HIDDEN))
    assert archive in reader.get("/archives", query_string={"q": words}).text


def test_the_description_of_a_bag_is_found_where_it_is_shown(world: World, reader: Client) -> None:
    bag = {"bag_info": [["Internal-Sender-Description", "chalk"], ["External-Description", "cliffs"]]}
    archive = str(world.published(title="Plain", metadata_=bag))
    assert "chalk" in reader.get(f"/archives/{archive}").text
    assert archive in reader.get("/archives?q=chalk").text
    assert archive not in reader.get("/archives?q=cliffs").text
