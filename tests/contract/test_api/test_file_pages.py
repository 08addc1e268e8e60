"""The files of an Archive in the registry: listed page by page, searched, looked at and fetched by those who may."""

from __future__ import annotations

from uuid import UUID

import pytest
from werkzeug.test import Client

from perdura.web import file_list
from tests.contract.test_api.test_doors import warc
from tests.contract.test_api.world import BASE, FILES, World, bearer, sign_in

SHOWN = {
    "data/objects/a.png": b"\x89PNG",
    "data/objects/b.txt": b"<script>alert(1)</script> \xff",
    "data/objects/c.pdf": b"%PDF-1.7",
    "data/objects/d.warc.gz": warc(),
    "data/objects/e.bin": b"\0",
}


@pytest.fixture
def person(world: World) -> Client:
    """A signed-in browser."""
    client = world.registry()
    sign_in(client)
    return client


@pytest.fixture
def shown(world: World) -> tuple[UUID, UUID]:
    """An Archive, and its AIP with a file of every kind that is shown."""
    archive = world.archive(title="<b>Shown</b>")
    return archive, world.aip(archive, SHOWN)


def _get(client: Client, address: str) -> str:
    answer = client.get(address, base_url=BASE)
    assert answer.status_code == 200, address
    assert "<script>alert" not in answer.text
    assert "<b>Shown" not in answer.text
    return answer.text


def test_all_files_are_found_page_by_page(world: World, person: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_list, "SHOWN", 3)
    archive = world.archive()
    world.aip(archive)
    assert f'href="/archives/{archive}/files"' in _get(person, f"/archives/{archive}")
    first = _get(person, f"/archives/{archive}/files")
    second = _get(person, first.split('rel="next" href="', 1)[1].split('"', 1)[0])
    assert [sum(path in page for path in FILES) for page in (first, second)] == [3, 1]
    assert 'rel="next"' not in second
    assert person.get(f"/archives/{archive}/files?cursor=x", base_url=BASE).status_code == 422


def test_files_are_searched_by_a_part_of_their_path(
    world: World, person: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_list, "SHOWN", 1)
    archive = world.published()
    address = f"/archives/{archive}/files"
    first = _get(person, f"{address}?q=.%50NG")
    assert "image.png" in first
    assert "page.html" not in first
    assert 'rel="next"' not in first
    following = _get(person, f"{address}?q=E.").split('rel="next" href="', 1)[1].split('"', 1)[0]
    assert "q=E." in following
    for nothing in ("%25", "_", "nothing", "%3Cscript%3Ealert"):
        assert "No path has this in it" in _get(person, f"{address}?q={nothing}")
    assert person.get(f"{address}?q=%00", base_url=BASE).status_code == 422
    reader = world.reader()
    assert "image.png" in reader.get(f"{address}?q=png").text
    assert "No path has this in it" in reader.get(f"{address}?q=objects").text


def test_what_can_be_shown_is_shown_and_everything_can_be_fetched(person: Client, shown: tuple[UUID, UUID]) -> None:
    archive, package = shown
    for page in (_get(person, f"/archives/{archive}"), _get(person, f"/archives/{archive}/files")):
        for path in SHOWN:
            assert f"/api/v1/archives/{archive}/packages/{package}/files/{path}" in page
            assert (f"/archives/{archive}/packages/{package}/view/{path}" in page) == (not path.endswith(".bin"))
    view = f"/archives/{archive}/packages/{package}/view/data/objects"
    file = f"/api/v1/archives/{archive}/packages/{package}/files/data/objects"
    assert f'src="{file}/a.png?view=1"' in _get(person, f"{view}/a.png")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \ufffd" in _get(person, f"{view}/b.txt")
    assert "200 OK" in _get(person, f"{view}/d.warc.gz")
    pdf = person.get(f"{view}/c.pdf", base_url=BASE)
    assert f'<iframe class="shown" src="{file}/c.pdf?view=1"' in pdf.text
    assert "frame-src 'self'" in pdf.headers["Content-Security-Policy"]
    for path, disposition in (("a.png?view=1", "inline"), ("c.pdf?view=1", "inline"), ("a.png", "attachment")):
        answer = person.get(f"{file}/{path}", base_url=BASE)
        assert (answer.status_code, answer.headers["Content-Disposition"].split(";")[0]) == (200, disposition)
    for missing in ("e.bin", "none", "../a.png"):
        assert person.get(f"{view}/{missing}", base_url=BASE).status_code == 404


def test_a_long_text_is_cut(world: World, person: Client) -> None:
    archive = world.archive()
    package = world.aip(archive, {"data/objects/long.txt": b"x" * 300_000 + b"the end", "data/objects/no.txt": b""})
    page = _get(person, f"/archives/{archive}/packages/{package}/view/data/objects/long.txt")
    assert "This is its beginning" in page
    assert "the end" not in page
    assert "beginning" not in _get(person, f"/archives/{archive}/packages/{package}/view/data/objects/no.txt")


def test_whoever_may_not_see_an_archive_sees_none_of_its_files(world: World) -> None:
    hidden = world.archive(restricted=True)
    package = world.aip(hidden)
    other = world.archive()
    elsewhere = world.aip(other)
    view = f"packages/{package}/view/data/objects/image.png"
    client, viewer, trusted = world.registry(), world.bearer("viewer"), world.bearer("archivist")
    for address in (f"/archives/{hidden}/files", f"/archives/{hidden}/{view}"):
        assert client.get(address, base_url=BASE, headers=viewer).status_code == 404
        assert client.get(address, base_url=BASE, headers=trusted).status_code == 200
        assert client.get(address, base_url=BASE).status_code == 303
    crossed = f"/archives/{other}/{view}", f"/archives/{hidden}/packages/{elsewhere}/view/data/objects/image.png"
    for address in crossed:
        assert client.get(address, base_url=BASE, headers=bearer()).status_code == 404


def test_an_embargo_shuts_the_files_as_at_the_api(world: World) -> None:
    archive = world.archive(metadata_={"embargo_until": "2999-01-01"})
    package = world.aip(archive)
    view = f"/archives/{archive}/packages/{package}/view/data/objects/image.png"
    client, viewer, trusted = world.registry(), world.bearer("viewer"), world.bearer("archivist")
    for address in (f"/archives/{archive}", f"/archives/{archive}/files"):
        shut = client.get(address, base_url=BASE, headers=viewer).text
        assert "under embargo until 2999-01-01" in shut
        assert "data/objects/image.png" in shut
        assert f"/packages/{package}/" not in shut
        assert view in client.get(address, base_url=BASE, headers=trusted).text
    assert client.get(view, base_url=BASE, headers=viewer).status_code == 403
    assert client.get(view, base_url=BASE, headers=trusted).status_code == 200


def test_a_package_without_files_says_so(world: World, person: Client) -> None:
    assert "No files are known yet" in _get(person, f"/archives/{world.archive()}/files")
