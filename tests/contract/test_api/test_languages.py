"""Pages in other languages: with a catalogue that marks what it translates, no text of ours is left unmarked."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from babel.messages.pofile import read_po, write_po
from lxml import html
from werkzeug.test import Client

from tests.contract.test_api.world import BASE, World, sign_in

PSEUDO = "qps"
PAGES = ["/archives", "/archives?state=failed&q=nothing", "/archives/{archive}", "/archives/{other}", "/add",
         "/failures",
         "/collections", "/jobs", "/jobs/new?act=run", "/jobs/new?act=retry&state=failed", "/sources", "/schedules",
         "/schedules/new", "/tape", "/tape/jobs",
         "/statistics", "/events", "/notifications", "/account", "/audit", "/administration/users",
         "/administration/grants", "/administration/pipelines", "/administration/settings"]  # fmt: skip
WORDS = (
    "//h1|//h2|//h3|//th[@scope='col']|//label|//button|//summary|//legend|//dt|//nav//a|//p|//main//a"
    "|//option[not(ancestor::*[@id='source'])]"
)
LABELS = "//@aria-label|//@placeholder"


@pytest.fixture
def catalogues(tmp_path: Path) -> Path:
    """A folder with a translation of every text: the same words in double brackets."""
    catalogue = read_po(io.BytesIO((files("perdura.web") / "locales" / "perdura.pot").read_bytes()))
    for message in catalogue:
        if message.id:
            plural = isinstance(message.id, tuple)
            message.string = tuple(f"⟦{each}⟧" for each in message.id) if plural else f"⟦{message.id}⟧"
    with (tmp_path / f"{PSEUDO}.po").open("wb") as file:
        write_po(file, catalogue)
    return tmp_path


@pytest.fixture
def translated(world: World, catalogues: Path) -> World:
    """The installation with that catalogue."""
    return replace(world, settings=world.settings.model_copy(update={"catalogues": catalogues}))


@pytest.fixture
def person(translated: World) -> Client:
    """A signed-in browser."""
    client = translated.registry()
    sign_in(client)
    return client


def _read(person: Client, address: str, accepted: str = f"{PSEUDO}, en;q=0.5") -> str:
    answer = person.get(address, base_url=BASE, headers={"Accept-Language": accepted})
    assert answer.status_code == 200, address
    return answer.text


DATA = re.compile(
    r"deposit \d+|AIPs?|AIP tar, .*|data/.*|perdura-aips/.*|s3://.*|sha\d+|http://.*"
    r"|administer|administrator|audit|deposit|operate|read|read-restricted|self"  # names of rights, users and steps
    r"|harvest|ingest|preserve|archive|publish|notify"
)
"""What stands in the pages as it is: contents, and names that programs use too."""


def _is_words(text: str) -> bool:
    return re.search(r"[A-Za-z]{3}", text) is not None and "⟦" not in text and DATA.fullmatch(text) is None


def test_no_text_of_ours_is_left_in_english(world: World, person: Client) -> None:
    archive, other = world.archive(title="0001", state="failed"), world.archive(title="0002", state="completed")
    world.aip(other)
    world.step(archive, "ingest", 0, "failed", attempt=2, error_code="x", error_message="…", findings=[])
    left: dict[str, set[str]] = {}
    for address in PAGES:
        page = html.fromstring(_read(person, address.format(archive=archive, other=other)))
        for events in page.xpath("//*[contains(@class, 'events')]"):
            events.drop_tree()  # the log speaks in the terms of PREMIS
        texts = [" ".join(element.text_content().split()) for element in page.xpath(WORDS)]
        texts += [str(label) for label in page.xpath(LABELS)]
        if wrong := {text for text in texts if _is_words(text)}:
            left[address] = wrong
    assert left == {}, json.dumps({page: sorted(texts) for page, texts in left.items()}, indent=1)


def test_a_page_is_in_the_language_the_browser_asks_for(person: Client) -> None:
    assert '<html lang="qps">' in _read(person, "/archives")
    assert '<html lang="en">' in _read(person, "/archives", "fr, en;q=0.5")
    assert "⟦" not in _read(person, "/archives", "en")


def test_a_language_that_is_set_is_spoken_to_everybody(translated: World) -> None:
    settings = translated.settings.model_copy(update={"language": PSEUDO})
    client = replace(translated, settings=settings).registry()
    answer = client.get("/sign-in", base_url=BASE, headers={"Accept-Language": "en"})
    assert answer.headers["Content-Language"] == PSEUDO
    assert "⟦Sign in⟧" in answer.text


def test_a_refusal_and_counts_are_translated_too(person: Client, world: World) -> None:
    world.archive()
    refused = person.get("/nowhere", base_url=BASE, headers={"Accept-Language": PSEUDO})
    assert refused.status_code == 404
    assert '<html lang="qps">' in refused.text
    assert re.search(r"⟦1 Archive, [^⟧]*⟧", _read(person, "/archives"))


def test_names_in_a_translated_sentence_stay_harmless(world: World, person: Client) -> None:
    archive = world.archive(title="<b>5 % of</b> %(total)s", state="failed")
    page = _read(person, f"/archives/{archive}")
    assert "<b>5" not in page
    assert "%(total)s" in page
