"""The access pages: bytes by range out of the AIP, machine-readable forms, and nothing of what is restricted."""

from __future__ import annotations

import io
import json
import re
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import unquote
from uuid import UUID

import pytest
from lxml import etree, html
from sqlalchemy import text
from werkzeug.test import Client

from perdura.api.queries import published
from perdura.clients.destinations import Choice
from perdura.ids import new_id
from perdura.ports import Offer, Placed
from perdura.premis import log
from perdura.premis.model import Event, Identifier, Outcome
from perdura.registry.placements import RegistryPlacements
from perdura.web import file_list, listing
from tests.contract.test_api.world import FILES, World, bearer
from tests.contract.test_premis.xsd import assert_valid

DOORS = ["", "/metadata.json", "/schema.json", "/datacite.json", "/premis.xml", "/linkset.json", "/aip", "/files",
         "/files.zip", "/files/data/objects/image.png"]  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_every_door_is_open_for_the_published_and_shut_for_everything_else(
    world: World, reader: Client, door: str
) -> None:
    published = world.published()
    restricted = world.published(restricted=True)
    unpublished = world.archive()
    world.aip(unpublished)
    assert reader.get(f"/archives/{published}{door}").status_code == 200
    refusals = [reader.get(f"/archives/{hidden}{door}") for hidden in (restricted, unpublished, new_id())]
    assert [answer.status_code for answer in refusals] == [404, 404, 404]
    assert len({answer.text for answer in refusals}) == 1


def test_restricted_archives_are_in_no_listing(world: World, reader: Client) -> None:
    hidden = str(world.published(restricted=True, title="Secret"))
    shown = str(world.published(title="Open"))
    for address in ("/", "/sitemap.xml", "/oai?verb=ListRecords&metadataPrefix=oai_dc"):
        text = reader.get(address).text
        assert shown in text
        assert hidden not in text


def test_everything_that_was_published_is_found_page_by_page_and_by_its_words(
    world: World, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SHOWN", 2)
    archives = [str(world.published(title=f"Cliffs & chalk {number}")) for number in range(5)]
    world.published(title="Something else")
    world.published(title="Cliffs in secret", restricted=True)
    address, found = "/archives?q=cliffs+chalk", []
    while address:
        tree = html.fromstring(reader.get(address).data)
        found += [link.rpartition("/")[2] for link in tree.xpath("//ul[@class='published']//h2/a/@href")]
        address = next(iter(tree.xpath("//a[@rel='next']/@href")), "")
        address = address[address.index("/archives?") :] if address else ""
    assert found == archives[::-1]
    assert "has all these words" in reader.get("/archives?q=secret").text
    assert reader.get("/archives?q=%3Cscript%3E%27%3B--&before=nonsense").status_code == 422
    assert reader.get("/archives?q=%3Cscript%3E%27%3B--").status_code == 200
    assert reader.get("/archives?q=%00").status_code == 422


def test_crawlers_find_the_sitemap(reader: Client) -> None:
    assert "Sitemap: http://access.test/sitemap.xml" in reader.get("/robots.txt").text.splitlines()


def test_a_long_sitemap_is_an_index_of_its_parts(world: World, reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = [str(world.published()) for _ in range(4)]
    whole = etree.fromstring(reader.get("/sitemap.xml").data)
    assert etree.QName(whole).localname == "urlset"
    monkeypatch.setattr(listing, "SITEMAP_LIMIT", 2)
    index = etree.fromstring(reader.get("/sitemap.xml").data)
    assert etree.QName(index).localname == "sitemapindex"
    parts = [loc.text or "" for loc in index.iter("{*}loc")]
    listed = [
        [loc.text for loc in etree.fromstring(reader.get(part[part.index("/sitemap") :]).data).iter("{*}loc")]
        for part in parts
    ]
    assert [len(part) for part in listed] == [2, 2]
    assert [str(address).rpartition("/")[2] for part in listed for address in part] == archives


def test_files_come_with_their_digest_and_harmless(world: World, reader: Client) -> None:
    archive = world.published()
    for path, content in FILES.items():
        answer = reader.get(f"/archives/{archive}/files/{path}")
        assert answer.data == content
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Repr-Digest"].startswith("sha-256=:")
    html = reader.get(f"/archives/{archive}/files/data/objects/page.html?view=1")
    assert html.headers["Content-Disposition"].startswith("attachment")
    image = reader.get(f"/archives/{archive}/files/data/objects/image.png?view=1")
    assert image.headers["Content-Disposition"].startswith("inline")


@pytest.mark.parametrize(
    ("header", "status", "start", "stop"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=10000-", 206, 10000, 10240),
        ("bytes=-40", 206, 10200, 10240),
        ("bytes=10239-99999", 206, 10239, 10240),
        ("bytes=10240-", 416, 0, 0),
        ("bytes=5-1", 200, 0, 10240),
        ("bytes=0-1,4-5", 200, 0, 10240),
        ("lines=0-1", 200, 0, 10240),
        ("bytes=x", 200, 0, 10240),
    ],
)
def test_ranges(world: World, reader: Client, header: str, status: int, start: int, stop: int) -> None:
    address = f"/archives/{world.published()}/files/data/objects/image.png"
    answer = reader.get(address, headers={"Range": header})
    assert answer.status_code == status
    assert answer.data == FILES["data/objects/image.png"][start:stop]
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/10240"
    head = reader.head(address, headers={"Range": header})
    assert (head.status_code, head.data) == (200, b""), "RFC 9110 section 14.2: ranges are of GET alone"
    assert head.headers["Content-Length"] == "10240"


def test_a_range_of_something_that_has_changed_is_sent_whole(world: World, reader: Client) -> None:
    address = f"/archives/{world.published()}/files/data/objects/image.png"
    tag = reader.head(address).headers["ETag"]
    same = reader.get(address, headers={"Range": "bytes=0-0", "If-Range": tag})
    other = reader.get(address, headers={"Range": "bytes=0-0", "If-Range": '"another"'})
    weak = reader.get(address, headers={"Range": "bytes=0-0", "If-Range": f"W/{tag}"})
    assert [same.status_code, other.status_code, weak.status_code] == [206, 200, 200]
    assert reader.get(address, headers={"If-None-Match": tag}).status_code == 304


NOWHERE = ["data/objects/none", "../x", "data/objects/../objects/image.png", "%00", "%FF", "a" * 5000]


@pytest.mark.parametrize("path", NOWHERE)
def test_paths_that_are_not_in_the_package_are_not_found(world: World, reader: Client, path: str) -> None:
    assert reader.get(f"/archives/{world.published()}/files/{path}").status_code in {404, 422}


def test_the_zip_holds_every_file_and_can_be_resumed(world: World, reader: Client) -> None:
    archive = world.published()
    whole = reader.get(f"/archives/{archive}/files.zip")
    assert whole.headers["Content-Length"] == str(len(whole.data))
    with zipfile.ZipFile(io.BytesIO(whole.data)) as opened:
        assert opened.testzip() is None
        names = {name: opened.read(name) for name in opened.namelist()}
    premis = names.pop("premis.xml").decode()
    assert_valid(etree.fromstring(premis.encode()))
    assert "has source" in premis
    assert "information package creation" in premis
    assert names == {f"{archive}/{path.removeprefix('data/objects/')}": data for path, data in FILES.items()}
    resume = {"Range": "bytes=777-", "If-Range": whole.headers["ETag"]}
    rest = reader.get(f"/archives/{archive}/files.zip", headers=resume)
    assert (rest.status_code, rest.data) == (206, whole.data[777:])


def _offers(reader: Client, archive: UUID) -> dict[str, set[str]]:
    """What each listing of an Archive names: page, list of files, JSON, link set, zip."""
    page = html.fromstring(reader.get(f"/archives/{archive}").data)
    listed = html.fromstring(reader.get(f"/archives/{archive}/files").data)
    told = json.loads(reader.get(f"/archives/{archive}/metadata.json").data)
    linked = json.loads(reader.get(f"/archives/{archive}/linkset.json").data)["linkset"][0].get("item", [])
    named = {unquote(item["href"]).partition("/files/")[2]: "" for item in linked}
    found = {
        "page": set(page.xpath("//th[@scope='row']/a/text()")),
        "list": set(listed.xpath("//th[@scope='row']/a/text()")),
        "json": {entry["path"] for entry in told["files"]},
        "links": set(named),
    }
    zipped = reader.get(f"/archives/{archive}/files.zip")
    if zipped.status_code == 200:
        with zipfile.ZipFile(io.BytesIO(zipped.data)) as opened:
            found["zip"] = {name.partition("/")[2] for name in opened.namelist() if name != "premis.xml"}
    return found


def test_the_pages_offer_what_their_policy_says_and_nothing_else(world: World, reader: Client) -> None:
    policy = Choice(include=("*.txt", "*.html", "a/*"), exclude=("*.html",), names="flat")
    archive = world.published("dip", policy)
    names = {"lies mich.txt", "empty"}
    paths = {"data/objects/lies mich.txt", "data/objects/a/empty"}
    found = _offers(reader, archive)
    assert (found.pop("links"), set(map(frozenset, found.values()))) == (paths, {frozenset(names)})
    doors = [f"/{kind}/{path}" for kind in ("files", "view") for path in FILES]
    given = {door for door in doors if reader.get(f"/archives/{archive}{door}").status_code == 200}
    assert given == {*(f"/files/{path}" for path in paths), "/view/data/objects/lies mich.txt"}
    assert reader.get(f"/archives/{archive}/aip").status_code == 404
    assert "Whole package" not in reader.get(f"/archives/{archive}").text


def test_what_is_offered_anew_takes_the_place_of_what_was(world: World, reader: Client) -> None:
    archive = world.published("dip")
    places = RegistryPlacements(world.engine)
    with world.engine.connect() as connection:
        package = published.aip(connection, archive).id
    (one, two), more = list(FILES)[:2], len(FILES) - 2
    assert more
    with contextmanager(world.statements)() as seen:
        places.offer("access-pages", archive, Offer(package, "dip", [("one", one), ("two", two)], 600))
        places.offer("access-pages", archive, Offer(package, "dip", [("one", two), ("two", one)], 600))
    assert len(seen) == 12
    told = reader.get(f"/archives/{archive}/metadata.json").json["files"]
    assert {entry["path"]: unquote(entry["url"]).partition("/files/")[2] for entry in told} == {"one": two, "two": one}
    assert places.known("access-pages", archive) == Placed(str(archive), "published")


def test_metadata_alone_shows_no_file(world: World, reader: Client) -> None:
    archive = world.published("metadata")
    assert set(map(frozenset, _offers(reader, archive).values())) == {frozenset()}
    page = reader.get(f"/archives/{archive}").text
    assert "not offered here" in page
    assert "files.zip" not in page
    for door in ("/aip", "/files.zip", *(f"/files/{path}" for path in FILES)):
        assert reader.get(f"/archives/{archive}{door}").status_code == 404


def test_an_eark_package_shows_its_files_as_any_other_does(world: World, reader: Client) -> None:
    root = "data/urn-uuid-1/"
    payload = {path.replace("data/objects/", f"{root}representations/rep1/data/"): data for path, data in FILES.items()}
    archive = world.published("dip", files={**payload, f"{root}METS.xml": b"<mets/>"})
    found = _offers(reader, archive)
    assert (found.pop("links"), set(map(frozenset, found.values()))) == (
        set(payload),
        {frozenset(path.removeprefix("data/objects/") for path in FILES)},
    )
    assert reader.get(f"/archives/{archive}/files/{root}METS.xml").status_code == 404


def test_signposting_leads_from_the_page_to_everything_and_back(world: World, reader: Client) -> None:
    archive = world.published()
    page = reader.get(f"/archives/{archive}")
    for relation in ("cite-as", "describedby", "item", "type", "linkset"):
        assert f'rel="{relation}"' in page.headers["Link"]
    told = json.loads(reader.get(f"/archives/{archive}/linkset.json").data)["linkset"]
    assert len(told[0]["item"]) == len(FILES)
    back = {context["anchor"]: context for context in told[1:]}
    for relation, inverse in (("item", "collection"), ("describedby", "describes")):
        for link in told[0][relation]:
            header = reader.get(link["href"].removeprefix("http://access.test")).headers["Link"]
            assert f'<http://access.test/archives/{archive}>; rel="{inverse}"; type="text/html"' in header
            assert f'<http://access.test/archives/{archive}/linkset.json>; rel="linkset"' in header
            assert back[link["href"]][inverse] == [
                {"href": f"http://access.test/archives/{archive}", "type": "text/html"}
            ]


def test_signposting_keeps_to_the_cardinalities_of_the_fair_profile(world: World, reader: Client) -> None:
    told = {"creators": ["Doe, J.", "CERN"], "orcids": {"Doe, J.": "0000-0002-1825-0097", "CERN": "no iD"}}
    one = world.published(metadata_={**told, "licence": ["CC-BY-4.0"], "doi": "10.5281/zenodo.1"})
    two = world.published(metadata_={"licence": ["CC-BY-4.0", "MIT"]})
    for archive, authors, licences in ((one, 1, 1), (two, 0, 0)):
        page = json.loads(reader.get(f"/archives/{archive}/linkset.json").data)["linkset"][0]
        assert len(page["cite-as"]) == 1
        assert len(page["type"]) == 2
        assert len(page["describedby"]) == 3
        assert [len(page.get(name, [])) for name in ("author", "license")] == [authors, licences]
        header = reader.get(f"/archives/{archive}").headers["Link"]
        assert header.count('rel="author"') == authors
        assert header.count('rel="license"') == licences
    assert '<https://orcid.org/0000-0002-1825-0097>; rel="author"' in reader.get(f"/archives/{one}").headers["Link"]
    creator = json.loads(reader.get(f"/archives/{one}/datacite.json").data)["creators"][0]
    assert creator["nameIdentifiers"][0]["nameIdentifier"] == "https://orcid.org/0000-0002-1825-0097"
    item = reader.get(f"/archives/{one}/files/data/objects/image.png").headers["Link"]
    assert '<https://spdx.org/licenses/CC-BY-4.0>; rel="license"' in item


def test_hostile_metadata_is_text(world: World, reader: Client) -> None:
    evil = "</script><script>alert(1)</script>"
    archive = world.published(
        title=evil,
        metadata_={
            "description": f"<p>{evil}</p>", "creators": [evil, {"name": evil}, 7], "licence": [evil, None],
            "doi": evil, "url": "javascript:alert(1)", "publication_date": evil, "version": evil, "publisher": evil,
        },
    )  # fmt: skip
    page = reader.get(f"/archives/{archive}").text
    assert "<script>alert" not in page
    assert "javascript:" not in page
    assert page.count("</script>") == 1
    for form in ("schema.json", "datacite.json", "metadata.json"):
        json.loads(reader.get(f"/archives/{archive}/{form}").data)
    etree.fromstring(reader.get("/oai?verb=ListRecords&metadataPrefix=oai_datacite").data)


def test_the_form_follows_the_accept_header(world: World, reader: Client) -> None:
    archive = world.published()
    for wanted in ("application/json", "application/ld+json", "application/vnd.datacite.datacite+json"):
        answer = reader.get(f"/archives/{archive}", headers={"Accept": wanted})
        assert answer.mimetype == wanted
        assert "Accept" in answer.headers["Vary"]


def test_versions_of_one_resource_lead_to_each_other(world: World, reader: Client) -> None:
    resource = world.resource("zenodo", "1")
    first, second = world.published(resource_id=resource), world.published(resource_id=resource)
    assert str(first) in reader.get(f"/archives/{second}").text


def test_many_files_are_paged(world: World, reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_list, "SHOWN", 3)
    archive = world.published()
    first = reader.get(f"/archives/{archive}/files").text
    following = first.split('rel="next" href="', 1)[1].split('"', 1)[0].removeprefix("http://access.test")
    second = reader.get(following).text
    assert sum(path.removeprefix("data/objects/") in first for path in FILES) == 3
    assert 'rel="next"' not in second
    assert 'rel="item"' not in reader.get(f"/archives/{archive}").headers["Link"]


def test_only_reading_is_possible(world: World, reader: Client) -> None:
    archive = world.published()
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert reader.open(f"/archives/{archive}", method=method).status_code == 405


def test_a_landing_page_costs_at_most_ten_statements(world: World, reader: Client) -> None:
    archive = world.published()
    with contextmanager(world.statements)() as seen:
        assert reader.get(f"/archives/{archive}").status_code == 200
    assert len(seen) <= 10


def test_strangers_are_not_told_what_persons_wrote_in_the_log(world: World, reader: Client) -> None:
    archive = world.published("dip", Choice(include=("*.png",)))
    other = Identifier("UUID", str(new_id()))
    agents = (Identifier("software", "perdura/1 ingest"), Identifier("account", "jane"))
    objects = (Identifier("UUID", str(archive)), Identifier("file", "data/objects/secret.txt"), other)
    told = (Outcome("success", ("secret.txt is clean",)),)

    def event(kind: str, detail: str) -> Event:
        return Event(new_id(), kind, datetime.now(UTC), (detail,), told, agents, objects)

    decided, checked = (
        event("policy assignment", "names of patients"),
        event("virus check", "jane looked at secret.txt"),
    )
    handed_in = replace(checked, id=new_id(), identifier_type="jane's", identifier="of secret.txt")
    handed_in = replace(
        handed_in,
        outcomes=(Outcome("jane says no", ()),),
        agents=(Identifier("software", "perdura/1 ingest", ("executing program", "asked by jane")),),
        objects=(Identifier("jane's", str(archive)), Identifier("UUID", str(archive), ("source", "jane's"))),
    )
    with world.engine.begin() as connection:
        log.append(connection, [decided, checked, handed_in], actor="test")
    answer = reader.get(f"/archives/{archive}/premis.xml")
    document = etree.fromstring(answer.data)
    assert_valid(document)
    assert [e.text for e in document.iter("{*}eventType")] == ["virus check"] * 2
    assert [e.text for e in document.iter("{*}linkingAgentIdentifierValue")] == ["perdura/1 ingest"] * 2
    assert [e.text for e in document.iter("{*}linkingObjectIdentifierValue")] == [str(archive)] * 2
    assert [e.text for e in document.iter("{*}eventOutcome") if e.text] == ["success"]
    for hidden in ("jane", "secret", "patients", other.value):
        assert hidden not in answer.text


@pytest.mark.parametrize("door", ["files/data/objects/image.png", "files.zip", "aip"])
def test_the_end_of_what_is_shorter_than_that_is_all_of_it(world: World, reader: Client, door: str) -> None:
    archive = world.published()
    whole = reader.get(f"/archives/{archive}/{door}")
    assert whole.headers["Cache-Control"] == "private, no-cache"
    for end in (len(whole.data), 10**9):
        rest = reader.get(f"/archives/{archive}/{door}", headers={"Range": f"bytes=-{end}"})
        assert (rest.status_code, rest.data) == (206, whole.data)
    assert reader.get(f"/archives/{archive}/{door}", headers={"Range": "bytes=-7"}).data == whole.data[-7:]
    known = reader.get(f"/archives/{archive}/{door}", headers={"If-None-Match": whole.headers["ETag"]})
    assert (known.status_code, known.data) == (304, b"")


@pytest.mark.parametrize("door", ["files/data/objects/image.png", "files.zip", "aip"])
def test_bytes_are_given_only_while_they_are_those_that_were_asked_for(world: World, reader: Client, door: str) -> None:
    archive = world.published()
    whole = reader.get(f"/archives/{archive}/{door}")
    tag = whole.headers["ETag"]

    def status(method: str = "GET", **conditions: str) -> int:
        headers = {name.replace("_", "-"): value for name, value in conditions.items()}
        answer = reader.open(f"/archives/{archive}/{door}", method=method, headers=headers)
        assert answer.status_code in {200, 206} or answer.data == b""
        return answer.status_code

    assert [status(If_Match=given) for given in (tag, "*", f'"other", {tag}')] == [200, 200, 200]
    for given in ('"other"', f"W/{tag}", "", "nothing"):
        assert status(If_Match=given) == 412, given
    assert status("HEAD", If_Match='"other"') == 412
    assert status(If_Match=tag, Range="bytes=0-0") == 206
    assert status(If_Match='"other"', Range="bytes=0-0", If_None_Match=tag) == 412
    assert [status(If_None_Match=given) for given in (tag, f"W/{tag}", "*", '"other"')] == [304, 304, 304, 200]
    if (changed := whole.headers.get("Last-Modified")) is not None:
        assert status(If_Unmodified_Since=changed) == 200
        assert status(If_Unmodified_Since="Thu, 01 Jan 1970 00:00:00 GMT") == 412
        assert status(If_Unmodified_Since="Thu, 01 Jan 1970 00:00:00 GMT", If_Match=tag) == 200
        assert status(If_Modified_Since=changed) == 200


def found(world: World, archive: UUID, state: str) -> None:
    """What a fixity check says of the copy in the store."""
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO copy (package_id, location, uri, size, checksums, state) "
                "SELECT id, 'object-store', 's3://there', 1, '{}', :state FROM package WHERE archive_id = :archive "
                "ON CONFLICT (package_id, location) DO UPDATE SET state = excluded.state"
            ),
            {"archive": archive, "state": state},
        )


@pytest.mark.parametrize("state", ["damaged", "lost"])
def test_nothing_is_given_out_of_a_copy_that_is_known_to_be_damaged(world: World, reader: Client, state: str) -> None:
    archive = world.published()
    doors = ["/aip", "/files.zip", "/files/data/objects/image.png", "/view/data/objects/image.png"]
    found(world, archive, state)
    for door in doors:
        answer = reader.get(f"/archives/{archive}{door}")
        assert (answer.status_code, "found damaged or lost" in answer.text) == (503, True)
    assert reader.get(f"/archives/{archive}").status_code == 200
    found(world, archive, "held")
    assert all(reader.get(f"/archives/{archive}{door}").status_code == 200 for door in doors)


@pytest.mark.parametrize("state", ["damaged", "lost"])
def test_the_registry_gives_nothing_out_of_such_a_copy_either(world: World, registry: Client, state: str) -> None:
    archive = world.published()
    with world.engine.connect() as connection:
        package = published.aip(connection, archive)
    assert package is not None
    of_package = f"archives/{archive}/packages/{package.id}"
    doors = [f"/api/v1/{of_package}/content", f"/api/v1/{of_package}/files/data/objects/image.png"]
    assert all(registry.get(door, headers=bearer()).status_code == 200 for door in doors)
    found(world, archive, state)
    for door in doors:
        answer = registry.get(door, headers=bearer())
        assert (answer.status_code, answer.get_json()["type"].endswith("copy-damaged")) == (503, True)


@pytest.mark.parametrize("state", ["damaged", "lost"])
def test_a_copy_that_is_known_to_be_damaged_is_told_of_and_nothing_leads_to_it(
    world: World, reader: Client, state: str
) -> None:
    archive = world.published()

    def addresses() -> dict[str, list[str]]:
        """What of the content each form of the landing page leads to."""
        forms = ["", "/files", "/metadata.json", "/schema.json", "/linkset.json"]
        told = {form: reader.get(f"/archives/{archive}{form}") for form in forms}
        texts = {form: answer.text + answer.headers.get("Link", "") for form, answer in told.items()}
        ways = re.compile(rf"/archives/{archive}/(?:aip|files\.zip|files/|view/)")
        return {form: ways.findall(text) for form, text in texts.items()}

    assert all(addresses().values())
    assert "found damaged" not in reader.get(f"/archives/{archive}").text
    assert reader.get(f"/archives/{archive}/metadata.json").json["damaged"] is False
    found(world, archive, state)
    assert not any(addresses().values())
    for page in ("", "/files"):
        assert "was found damaged or lost" in reader.get(f"/archives/{archive}{page}").text
    told = reader.get(f"/archives/{archive}/metadata.json").json
    assert told["damaged"] is True
    assert [(file["path"], file["url"]) for file in told["files"] if "image.png" in file["path"]] == [
        ("image.png", None)
    ]
