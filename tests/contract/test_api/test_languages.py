"""Pages in other languages: with a catalogue that marks what it translates, no text of ours is left unmarked."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from uuid import UUID

import pytest
from babel.messages.pofile import read_po, write_po
from lxml import html
from werkzeug.test import Client

from perdura.accounts.principals import LOCAL_ADMINISTRATOR
from perdura.registry import runs
from perdura.registry.run_states import ItemState
from perdura.runtime import jobs
from perdura.web import file_list, listing
from tests.contract.test_api.world import BASE, World, bearer, sign_in
from tests.every_page import REGISTRY, addresses

PSEUDO = "qps"
NAMES = ("archive", "rejected", "package", "text", "image", "job", "collection", "empty_collection", "schedule", "run",
         "user", "code")  # fmt: skip
PAGES = [*addresses(REGISTRY, **{name: f"{{{name}}}" for name in NAMES}), "/sign-in?next=/audit"]
ACCESS_PAGES = ["/", "/archives?q=nothing", "/archives/{archive}", "/archives/{archive}/files", "/archives/{bare}",
                "/archives/{archive}/view/data/objects/lies%20mich.txt",
                "/archives/{archive}/view/data/objects/image.png"]  # fmt: skip
WORDS = (
    "//h1|//h2|//h3|//th[@scope='col']|//label|//button|//summary|//legend|//dt|//dd|//nav//a|//p|//main//a|//td|//span"
    "|//option[@value='' or not(ancestor::*[@id='source' or @id='bucket' or @id='type' or @id='outcome'])]"
)
CONTENTS = (
    "//*[contains(@class, 'events')]|//*[@class='citation' or @class='path' or @class='digest' or @class='brand']"
    "|//*[contains(concat(' ', @class, ' '), ' data ') or @lang='en']|//code"
)
"""What is not ours, or for programs; names of settings and products; the log, which speaks in the terms of PREMIS."""
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
    r"|[\d., ]+ [KMGT]iB|SHA-256|.* sha256 [0-9a-f]{64}"
)
"""What stands in the pages as it is: contents, and names that programs use too."""

MARKED = re.compile(r"⟦[^⟦⟧]*⟧")


def _is_words(text: str) -> bool:
    while "⟦" in text and (rest := MARKED.sub("", text)) != text:
        text = rest.strip()
    return re.search(r"[A-Za-z]{3}", text) is not None and DATA.fullmatch(text) is None


def _left_in_english(page: str) -> set[str]:
    """The texts of a page that no catalogue translated."""
    tree = html.fromstring(page)
    for contents in tree.xpath(CONTENTS):
        contents.drop_tree()
    texts = [" ".join(element.text_content().split()) for element in tree.xpath(WORDS)]
    texts += [str(label) for label in tree.xpath(LABELS)]
    return {text for text in texts if _is_words(text)}


def _told(left: dict[str, set[str]]) -> str:
    return json.dumps({page: sorted(texts) for page, texts in left.items() if texts}, indent=1)


@pytest.fixture
def names(translated: World, person: Client) -> dict[str, object]:
    """Something of everything there is a page for; what is not words has a number for a name."""
    archive, rejected = translated.archive(title="0002"), translated.archive(title="0001", state="rejected")
    translated.step(rejected, "ingest", 0, "failed", attempt=2, error_code="x", error_message="…", findings=[])
    collection, empty = translated.collection(archive, name="0003"), translated.collection(name="0004")
    translated.grant(group_name="0005", archive_id=archive)

    def made(path: str, **body: object) -> str:
        answer = person.post(f"/api/v1{path}", json=body, headers=bearer())
        assert answer.status_code in {201, 202}, answer.text
        return str(answer.get_json()["id"])

    schedule = made("/schedules", name="0006", source="zenodo", cron="@weekly")
    run = made(f"/schedules/{schedule}/runs")
    with translated.engine.begin() as connection:
        listed = [runs.NewItem(f"000{n}", "1", None, ItemState(name)) for n, name in ((7, "failed"), (8, "unchanged"))]
        runs.add(connection, UUID(run), 0, "zenodo", listed)
    made("/users/me/tokens", name="0008", scopes=["read"], days=1)
    job = made("/announcements", bucket="perdura-incoming", packages=[{"key": "9"}])
    jobs.tick(translated)  # type: ignore[arg-type]
    return {
        "archive": archive, "rejected": rejected, "package": translated.aip(archive), "job": job,
        "text": "data/objects/lies mich.txt", "image": "data/objects/image.png", "collection": collection,
        "empty_collection": empty, "schedule": schedule, "run": run, "user": LOCAL_ADMINISTRATOR, "code": "x",
    }  # fmt: skip


def test_no_text_of_ours_is_left_in_english(person: Client, names: dict[str, object]) -> None:
    left = {address: _left_in_english(_read(person, address.format(**names))) for address in PAGES}
    assert not any(left.values()), _told(left)


def test_no_refused_sign_in_is_left_in_english(translated: World) -> None:
    refused = translated.registry().post(
        "/sign-in", base_url=BASE, data={"token": "wrong"}, headers={"Accept-Language": PSEUDO}
    )
    assert refused.status_code == 403
    assert not _left_in_english(refused.text)


def test_no_text_of_the_access_pages_is_left_in_english(translated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_list, "SHOWN", 1)
    monkeypatch.setattr(listing, "SHOWN", 1)
    about = {"creators": ["1", "2", "3", "4", "5", "6"], "description": "3", "version": "4", "publisher": "5"}
    resource = translated.resource("0003", "0004")
    archive = translated.published(title="0001", metadata_=about, resource_id=resource)
    bare = translated.published(
        title="0002", metadata_={"embargo_until": "2999-01-01", "publisher": "5"}, resource_id=resource
    )
    reader = translated.reader()
    left = {
        address: _left_in_english(_read(reader, address.format(archive=archive, bare=bare))) for address in ACCESS_PAGES
    }
    assert not any(left.values()), _told(left)
    refused = reader.get("/nowhere", headers={"Accept-Language": PSEUDO})
    assert (refused.status_code, refused.headers["Content-Language"]) == (404, PSEUDO)
    assert "⟦Preserved with Perdura⟧" in refused.text
    assert "⟦" not in reader.get("/", headers={"Accept-Language": "en"}).text


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
