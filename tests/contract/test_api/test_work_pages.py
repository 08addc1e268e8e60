"""The pages of everyday work: collections, bulk work, sources, schedules, statistics, tape."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from lxml import html
from pydantic import SecretStr
from sqlalchemy import insert, select, text
from werkzeug.test import Client

from perdura.api.queries import jobs as queries
from perdura.api.queries import statistics
from perdura.ids import new_id
from perdura.registry import archive_index, runs
from perdura.registry import jobs as registry_jobs
from perdura.registry.run_states import ItemState
from perdura.registry.tables import Collection, CollectionMember, Copy
from perdura.runtime import jobs as running
from perdura.web import charts, collection_choice, collection_pages, job_pages
from perdura.web.charts import Bar
from tests.contract.test_api.world import BASE, World, bearer, csrf_of, sign_in

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def person(world: World) -> Client:
    """A signed-in browser."""
    client = world.registry()
    sign_in(client)
    return client


@pytest.fixture
def busy(world: World) -> str:
    """An installation with some of everything; gives back an Archive that has failed."""
    resource = world.resource("zenodo", "4711")
    for number, state in enumerate(("completed", "failed")):
        archive = world.archive(title=f"{HOSTILE} {number}", resource_id=resource, origin="harvest", state=state)
        package = world.aip(archive)
        with world.engine.begin() as connection:
            connection.execute(
                insert(Copy).values(package_id=package, location="tape", uri="tape:x", size=1, checksums={})
            )
    begun = datetime.now(UTC) - timedelta(minutes=5)
    world.step(archive, "ingest", 0, "completed", started_at=begun, finished_at=begun + timedelta(seconds=3))
    world.step(archive, "preserve", 1, "completed", started_at=begun, finished_at=begun + timedelta(seconds=70))
    world.step(
        archive, "archive", 2, "failed", started_at=begun, finished_at=begun + timedelta(seconds=9),
        error_code="no-space", error_message=HOSTILE,
    )  # fmt: skip
    waiting = world.archive(title="On its way", state="waiting")
    world.step(waiting, "archive", 2, "waiting", checkpoint={"job": "an-fts-job"})
    world.step(archive, "recall", 1000, "completed", finished_at=begun)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE package_file SET format_key = 'fmt/11', format_name = 'PNG'"))
    return str(archive)


def _page(person: Client, path: str) -> str:
    answer = person.get(path, base_url=BASE)
    assert answer.status_code == 200, path
    assert HOSTILE not in answer.text
    return answer.text


@pytest.mark.parametrize(
    "path",
    ["/archives", "/failures", "/collections", "/sources", "/schedules", "/tape", "/statistics",
     "/statistics?days=1825", "/jobs", "/jobs/new", "/jobs/new?act=run&state=completed"],
)  # fmt: skip
def test_every_page_stands_with_and_without_anything_to_show(world: World, person: Client, path: str) -> None:
    _page(person, path)
    world.archive(title=HOSTILE)
    _page(person, path)


def test_an_archives_page_offers_only_what_makes_sense(person: Client, busy: str) -> None:
    page = _page(person, f"/archives/{busy}")
    assert set(re.findall(rf'action="/archives/{busy}/(\w+)"', page)) == {
        "retry", "skip", "recall", "check", "collections", "restriction", "embargo", "publication",
    }  # fmt: skip
    assert "Versions" in page
    token = csrf_of(person.get("/archives", base_url=BASE))
    assert person.post(f"/archives/{busy}/cancel", data={"csrf": token}, base_url=BASE).status_code == 409


def test_copies_are_checked_from_the_page_which_follows_it_and_lets_it_be_stopped(person: Client, busy: str) -> None:
    token = csrf_of(person.get("/archives", base_url=BASE))
    assert person.post(f"/archives/{busy}/check", data={"csrf": token}, base_url=BASE).status_code == 303
    page = _page(person, f"/archives/{busy}")
    assert "hx-trigger" in page, "it is followed although the Archive is final"
    stops = re.findall(rf'action="(/archives/{busy}/steps/[0-9a-f-]+/cancel)"', page)
    assert len(stops) == 2, "of the copy in the store and the one on tape"
    assert person.post(stops[0], data={"csrf": token}, base_url=BASE).status_code == 303
    assert len(re.findall(r"/steps/[0-9a-f-]+/cancel", _page(person, f"/archives/{busy}"))) == 1
    assert person.post(f"/archives/{busy}/check", base_url=BASE).status_code == 403, "not without the form's token"
    assert person.post(f"/archives/{busy}/skip", data={"csrf": token}, base_url=BASE).status_code == 303
    assert person.post(f"/archives/{busy}/burn", data={"csrf": token}, base_url=BASE).status_code == 404


def test_deposits_are_no_versions_of_one_another(world: World, person: Client) -> None:
    one, _ = world.archive(), world.archive()
    assert "Versions" not in _page(person, f"/archives/{one}")


def test_bulk_work_is_planned_confirmed_and_followed(world: World, person: Client, busy: str) -> None:
    listing = person.get("/archives?state=failed&source=zenodo", base_url=BASE)
    link = re.search(r'href="(/jobs/new[^"]*)"', listing.text)
    assert link is not None
    plan = person.get(link[1].replace("&amp;", "&"), base_url=BASE)
    assert "<strong>1</strong> of 1 Archives" in plan.text
    form = {"csrf": csrf_of(plan), "act": "retry", "state": "failed", "source": "zenodo"}
    begun = person.post("/jobs", data=form, base_url=BASE)
    assert begun.status_code == 303
    assert 'hx-trigger="every 2s"' in _page(person, begun.headers["Location"])
    running.tick(world)  # type: ignore[arg-type]
    done = _page(person, begun.headers["Location"])
    assert "1 done, 0 failed, 0 left" in done
    assert "hx-trigger" not in done


def test_archives_that_were_chosen_in_the_list_are_acted_on_alone(world: World, person: Client) -> None:
    one, two, three = (world.archive(title=f"Chosen {number}", state="completed") for number in range(3))
    listing = person.get("/archives", base_url=BASE)
    boxes = html.fromstring(listing.text).xpath("//input[@type='checkbox'][@form='chosen']")
    assert {box.get("value") for box in boxes} == {str(one), str(two), str(three)}
    form = html.fromstring(listing.text).get_element_by_id("chosen")
    assert (form.get("method"), form.get("action")) == ("get", "/jobs/new")
    query = f"chosen=yes&act=collect&archives={one}&archives={two}"
    plan = person.get(f"/jobs/new?{query}", base_url=BASE)
    assert "<strong>2</strong> of 2 Archives" in plan.text
    collection = world.collection(name="Theses")
    fields = {"csrf": csrf_of(plan), "act": "collect", "into": "Nowhere", "archives": [str(one), str(two)]}
    again = person.post("/jobs", data=fields, base_url=BASE)
    assert again.status_code == 422
    assert "<strong>2</strong> of 2 Archives" in again.text
    assert person.post("/jobs", data={**fields, "into": "Theses"}, base_url=BASE).status_code == 303
    running.tick(world)  # type: ignore[arg-type]
    with world.engine.connect() as connection:
        found = connection.execute(text("SELECT archive_id FROM collection_member WHERE collection_id = :id"),
                                   {"id": collection}).scalars()  # fmt: skip
        assert set(found) == {one, two}
    assert person.get("/jobs/new?chosen=yes&act=collect", base_url=BASE).status_code == 422
    assert person.get(f"/jobs/new?archives={new_id()}", base_url=BASE).status_code == 404


def test_a_collection_is_made_filled_changed_and_removed(person: Client, busy: str) -> None:
    token = csrf_of(person.get("/collections", base_url=BASE))
    made = person.post("/collections", data={"csrf": token, "name": HOSTILE}, base_url=BASE)
    address = made.headers["Location"]
    add = person.post(f"/archives/{busy}/collections", data={"csrf": token, "name": HOSTILE}, base_url=BASE)
    assert add.status_code == 303
    assert "1 Archive," in _page(person, address)
    assert "&lt;script&gt;" in _page(person, f"/archives/{busy}")
    changed = person.post(address, data={"csrf": token, "name": "Theses", "restricted": "1"}, base_url=BASE)
    assert changed.status_code == 303
    assert "restricted" in _page(person, address)
    assert person.post("/collections", data={"csrf": token, "name": ""}, base_url=BASE).status_code == 422
    assert person.post("/collections", data={"name": "x"}, base_url=BASE).status_code == 403
    assert person.post(f"{address}/remove", data={"csrf": token}, base_url=BASE).status_code == 303
    assert person.get(address, base_url=BASE).status_code == 404


def test_tape_shows_what_is_under_way(person: Client, busy: str) -> None:
    page = _page(person, "/tape")
    assert "On its way" in page
    assert "an-fts-job" in page
    assert "Recalls" in page


def test_a_schedule_is_made_by_a_form_that_names_what_is_wrong(world: World, person: Client) -> None:
    page = person.get("/schedules/new?source=zenodo&query=theses", base_url=BASE)
    assert 'value="theses"' in page.text
    token = csrf_of(page)
    fields = {
        "csrf": token, "name": HOSTILE, "source": "zenodo", "way": "search", "query": "theses", "follows": "created",
        "cron": "0 3 * * 1", "since": "2026-01-31", "concurrency": "2", "record_limit": "", "paused": "true",
    }  # fmt: skip
    wrong = person.post("/schedules", data={**fields, "concurrency": "900", "cron": "x"}, base_url=BASE)
    assert wrong.status_code == 422
    assert "form.concurrency" in wrong.text
    assert 'value="900"' in wrong.text
    assert HOSTILE not in wrong.text
    never = person.post("/schedules", data={**fields, "cron": "61 * * * *"}, base_url=BASE)
    assert (never.status_code, 'role="alert"' in never.text) == (422, True)
    refused = person.post("/schedules", data={**fields, "source": "nowhere"}, base_url=BASE)
    assert "There is no source" in refused.text
    assert person.post("/schedules", data={**fields, "csrf": ""}, base_url=BASE).status_code == 403
    made = person.post("/schedules", data=fields, base_url=BASE)
    assert made.status_code == 303
    shown = _page(person, made.headers["Location"])
    for words in ("theses", "0 3 * * 1", "not while it is paused", "&lt;script&gt;"):
        assert words in shown
    entry = next(entry for entry in world.audited() if entry.status == 303 and entry.objects)
    assert str(entry.objects[0]) in made.headers["Location"]
    assert person.post(f"{made.headers['Location']}/retire", data={"csrf": token}, base_url=BASE).status_code == 303
    assert "Run now" not in _page(person, made.headers["Location"])


def test_a_schedule_is_changed_on_its_page_in_what_was_typed_anew(world: World, person: Client) -> None:
    old, new = world.collection(name="Old"), world.collection(name="New")
    body = {"name": "Theses", "source": "zenodo", "cron": "@daily", "query": "x", "collection": str(old),
            "record_limit": 7, "failure_share": 0.5}  # fmt: skip
    made = person.post("/api/v1/schedules", json=body, headers=bearer()).get_json()
    address = f"/schedules/{made['id']}"
    page = person.get(address, base_url=BASE)
    form = html.fromstring(page.text).xpath(f"//form[@action='{address}']")[0]
    fields = {name: value or "" for name, value in form.form_values()}
    assert fields["collection"] == "Old"
    assert person.post(address, data=fields, base_url=BASE).status_code == 303
    api = f"/api/v1{address}"
    before = person.get(api, headers=bearer()).get_json()
    assert before == made, "nothing was typed"
    wanted = {**fields, "cron": "0 4 * * *", "collection": "New", "record_limit": "", "query": ""}
    assert person.post(address, data=wanted, base_url=BASE).status_code == 303
    after = person.get(api, headers=bearer()).get_json()
    changed = {"cron": "0 4 * * *", "collection": str(new), "record_limit": None, "query": ""}
    assert {name for name in before if before[name] != after[name]} == {*changed, "next", "updated"}
    assert {name: after[name] for name in changed} == changed
    assert world.audited()[-1].detail == changed
    for name, typed in (("cron", "61 * * * *"), ("name", ""), ("collection", "Nowhere"), ("concurrency", "x")):
        refused = person.post(address, data={**fields, name: typed}, base_url=BASE)
        assert refused.status_code == 422
        assert f".{name}</code>" in refused.text
        assert f'name="{name}"' in refused.text
        assert f'value="{typed}"' in refused.text, "what was typed is there again"
    assert person.post(address, data={**fields, "csrf": ""}, base_url=BASE).status_code == 403


def test_who_may_not_operate_makes_no_schedule(world: World) -> None:
    viewer, headers = world.registry(), world.bearer("viewer")
    assert viewer.get("/schedules/new", base_url=BASE, headers=headers).status_code == 403
    assert "/schedules/new" not in viewer.get("/schedules", base_url=BASE, headers=headers).text


def test_an_archive_is_put_into_the_collection_of_that_very_name_among_hundreds(world: World, registry: Client) -> None:
    archive, wanted = world.archive(), world.collection(name="Theses")
    with world.engine.begin() as connection:
        rows = [{"id": new_id(), "name": f"Theses before {year}"} for year in range(1700, 1950)]
        connection.execute(insert(Collection), [*rows, {"id": new_id(), "name": "All Theses"}])
    sign_in(registry)
    token = csrf_of(registry.get("/collections", base_url=BASE))
    for name in ("Theses", "A new one"):
        sent = {"csrf": token, "name": name}
        assert registry.post(f"/archives/{archive}/collections", data=sent, base_url=BASE).status_code == 303
    with world.engine.connect() as connection:
        members = connection.execute(select(CollectionMember.collection_id)).scalars().all()
    assert wanted in members
    assert len(members) == 2


def test_formats_are_called_by_their_names_where_a_list_is_narrowed(registry: Client, busy: str) -> None:
    found = registry.get("/api/v1/archives/facets", headers=bearer()).get_json()["facets"]["format"]
    assert found[0] == {"value": "fmt/11", "name": "PNG", "count": 2}
    sign_in(registry)
    assert re.search(r"<span>PNG <span[^>]*>fmt/11</span></span>", registry.get("/archives", base_url=BASE).text)


def test_sources_tell_how_they_are(world: World, registry: Client, busy: str) -> None:
    items = registry.get("/api/v1/sources/health", headers=bearer()).get_json()["items"]
    zenodo = next(item for item in items if item["id"] == "zenodo")
    assert (zenodo["archives"], zenodo["stopped"], zenodo["health"]) == (2, 1, "failing")
    assert zenodo["searchable"]
    assert registry.get("/api/v1/sources/nowhere/search?q=x", headers=bearer()).status_code == 404


def test_statistics_are_those_of_the_tables_folded_or_not(world: World, registry: Client, busy: str) -> None:
    before = registry.get("/api/v1/statistics?days=7", headers=bearer()).get_json()
    with world.engine.begin() as connection:
        archive_index.fold(connection)
    found = registry.get("/api/v1/statistics?days=7", headers=bearer()).get_json()
    assert found == before
    assert found["archives"] == 3
    assert found["states"] == {"completed": 1, "failed": 1, "waiting": 1}
    assert [(step["name"], step["runs"], step["failed"]) for step in found["steps"]] == [
        ("ingest", 1, 0), ("preserve", 1, 0), ("archive", 1, 1), ("recall", 1, 0),
    ]  # fmt: skip
    assert found["steps"][1]["mean_seconds"] == 70
    assert found["steps"][1]["median_seconds"] == 128
    assert found["failures"] == [{"step": "archive", "code": "no-space", "count": 1}]
    assert found["formats"][0]["format"] == "fmt/11"
    assert found["formats"][0]["archives"] == 2
    assert sum(day["archives"] for day in found["throughput"]) == 3
    assert len(found["throughput"]) == 7
    assert registry.get("/api/v1/statistics?days=0", headers=bearer()).status_code == 422


def test_charts_say_in_words_what_they_show_and_escape_labels() -> None:
    chart = charts.rows("Files", [Bar(HOSTILE, 3), Bar("b", 1)], lambda value: f"{value:.0f}")
    assert HOSTILE not in chart
    assert "2 values, the highest 3" in chart
    assert 'role="img"' in charts.columns("Nothing", [], str)
    assert [charts.nice_top(value) for value in (0, 3, 20, 21, 0.3)] == [1, 5, 20, 25, 0.5]


def test_the_share_of_a_histogram_is_an_upper_bound() -> None:
    assert statistics.at_share({0: 5, 3: 5}, 0.5) == 1
    assert statistics.at_share({0: 5, 3: 5}, 0.95) == 8
    assert statistics.at_share({}, 0.5) == 0


def test_a_collection_that_cannot_be_made_comes_back_in_its_form(world: World, person: Client) -> None:
    taken, other = world.collection(name="Theses"), world.collection(name="Maps")
    token = csrf_of(person.get("/collections", base_url=BASE))
    sent = {"csrf": token, "name": "Theses", "description": "All of them", "restricted": "1"}
    refused = person.post("/collections", base_url=BASE, data=sent)
    assert refused.status_code == 409
    assert "There is a collection named" in refused.text
    tree = html.fromstring(refused.text)
    assert tree.xpath("string(//section//input[@name='name']/@value)") == "Theses"
    assert tree.xpath("string(//section//textarea)").strip() == "All of them"
    assert tree.xpath("//section//input[@name='restricted']/@checked")
    renamed = person.post(f"/collections/{other}", base_url=BASE, data={"csrf": token, "name": "Theses"})
    assert (renamed.status_code, "There is a collection named" in renamed.text) == (409, True)
    assert person.post(f"/collections/{taken}", base_url=BASE, data=sent).status_code == 303


def test_a_subscription_that_cannot_be_made_comes_back_in_its_form(person: Client) -> None:
    token = csrf_of(person.get("/notifications", base_url=BASE))
    sent = {"csrf": token, "way": "cloudevents", "address": "no address", "kinds": ["rejected"], "source": "zenodo"}
    refused = person.post("/notifications", base_url=BASE, data=sent)
    assert refused.status_code == 422
    tree = html.fromstring(refused.text)
    assert "no http or https URL" in tree.xpath("string(//*[@role='alert'])")
    assert tree.xpath("//input[@name='address']/@value") == ["no address"]
    assert tree.xpath("//input[@name='source']/@value") == ["zenodo"]
    assert tree.xpath("//select[@name='way']/option[@selected]/@value") == ["cloudevents"]
    assert tree.xpath("//input[@name='kinds'][@checked]/@value") == ["rejected"]


def test_a_list_of_a_collection_says_so_and_leads_out_of_it(world: World, person: Client) -> None:
    collection = world.collection(world.archive(title="In it"), name="Theses")
    world.archive(title="Not in it")
    page = person.get(f"/archives?collection={collection}&q=in", base_url=BASE).text
    assert f'<a href="/collections/{collection}">Theses</a>' in page
    assert 'href="/archives?q=in">Of all collections' in page
    assert "Not in it" not in page


def test_more_collections_and_jobs_than_a_page_holds_are_reached(
    world: World, person: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection_pages, "SHOWN", 1)
    monkeypatch.setattr(job_pages, "SHOWN", 1)
    monkeypatch.setattr(job_pages, "ITEMS", 2)
    for name in ("A", "B"):
        world.collection(name=name)
    packages = [{"key": f"{number}.zip"} for number in range(3)]
    for _ in range(2):
        body = {"bucket": "perdura-incoming", "packages": packages}
        person.post("/api/v1/announcements", json=body, headers=bearer())

    def followed(address: str) -> list[str]:
        found = []
        while address:
            tree = html.fromstring(person.get(address, base_url=BASE).text)
            found += [row.text_content().strip() for row in tree.xpath("//tbody/tr/th")]
            address = tree.xpath("string(//a[@rel='next']/@href)")
        return found

    assert followed("/collections") == ["A", "B"]
    assert len(followed("/jobs")) == 2
    job = html.fromstring(person.get("/jobs", base_url=BASE).text).xpath("string(//tbody//a/@href)")
    assert followed(f"{job}?state=queued") == ["0.zip", "1.zip", "2.zip"]
    following = html.fromstring(person.get(f"{job}?state=queued", base_url=BASE).text).get_element_by_id("job")
    assert following.get("hx-get") == f"{job}?state=queued"


def test_a_run_shows_what_became_of_its_records_to_those_who_see_restricted_ones(world: World, person: Client) -> None:
    body = {"name": "Nightly", "source": "zenodo", "cron": "@daily"}
    schedule = person.post("/api/v1/schedules", json=body, headers=bearer()).get_json()["id"]
    run = person.post(f"/api/v1/schedules/{schedule}/runs", headers=bearer()).get_json()["id"]
    with world.engine.begin() as connection:
        listed = [runs.NewItem(f"{state}-1", "1", "Secret", state) for state in (ItemState.FAILED, ItemState.UNCHANGED)]
        runs.add(connection, UUID(run), 0, "zenodo", listed)
    page = person.get(f"/schedules/{schedule}", base_url=BASE).text
    assert f'href="/runs/{run}"' in page
    assert f'hx-get="/schedules/{schedule}"' in page
    failed = person.get(f"/runs/{run}?state=failed", base_url=BASE).text
    assert "failed-1" in failed
    assert "unchanged-1" not in failed
    assert "Failed: 1" in failed
    assert f'action="/runs/{run}/cancel"' in failed
    viewer = person.get(f"/runs/{run}", headers=world.bearer("viewer"), base_url=BASE)
    assert viewer.status_code == 200
    assert "Secret" not in viewer.text
    assert "/cancel" not in viewer.text


def test_a_collection_that_a_schedule_fills_is_shown_again_with_what_is_in_the_way(
    world: World, person: Client
) -> None:
    collection = world.collection()
    schedule = {"name": "Weekly theses", "source": "zenodo", "cron": "@daily", "collection": str(collection)}
    assert world.registry().post("/api/v1/schedules", headers=bearer(), json=schedule).status_code == 201
    token = csrf_of(person.get("/collections", base_url=BASE))
    refused = person.post(f"/collections/{collection}/remove", data={"csrf": token}, base_url=BASE)
    assert refused.status_code == 409
    assert "Weekly theses" in refused.text


def test_bulk_work_that_cannot_be_done_says_why_beside_its_plan(
    world: World, person: Client, busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = csrf_of(person.get("/jobs/new", base_url=BASE))
    nothing = person.post("/jobs", data={"csrf": token, "act": "retry", "state": "completed"}, base_url=BASE)
    assert nothing.status_code == 409
    assert "Nothing matches" in nothing.text
    monkeypatch.setattr(registry_jobs, "LARGEST", 0)
    monkeypatch.setattr(queries, "LARGEST", 0)
    too_much = person.post("/jobs", data={"csrf": token, "act": "retry"}, base_url=BASE)
    assert too_much.status_code == 409
    assert "narrow the filter" in too_much.text


def test_any_of_hundreds_of_collections_is_chosen_by_its_name(
    world: World, busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = SecretStr(base64.b64encode(b"k" * 32).decode())
    person = replace(world, settings=world.settings.model_copy(update={"credential_keys": keys})).registry()
    sign_in(person)
    monkeypatch.setattr(collection_choice, "OFFERED", 2)
    for name in ("A", "B"):
        world.collection(name=name)
    last = world.collection(name="Zoology")
    token = csrf_of(person.get("/add", base_url=BASE))
    schedule = {"name": "s", "source": "zenodo", "way": "search", "query": "x", "follows": "created",
                "cron": "@daily", "concurrency": "2", "paused": "true"}  # fmt: skip
    forms = (
        ("/add", "/add/announce", {"bucket": "perdura-incoming", "packages": "a.zip"}, "collection"),
        ("/schedules/new", "/schedules", schedule, "collection"),
        ("/notifications", "/notifications", {"way": "webhook", "address": "https://x.test/", "kinds": "failed"},
         "collection"),
        ("/jobs/new?act=collect", "/jobs", {"act": "collect"}, "into"),
    )  # fmt: skip
    for page, target, fields, field in forms:
        tree = html.fromstring(person.get(page, base_url=BASE).text)
        names = f"//datalist[@id=//input[@name='{field}' and @type='text']/@list]/option/@value"
        assert tree.xpath(names) == ["A", "B"], page
        sent = {"csrf": token, **fields, field: "Zoology"}
        wrong = person.post(target, data={**sent, field: "Zoolog"}, base_url=BASE)
        assert (wrong.status_code, f"form.{field}" in wrong.text) == (422, True), page
        assert html.fromstring(wrong.text).xpath(f"//input[@name='{field}' and @type='text']/@value") == ["Zoolog"]
        assert person.post(target, data=sent, base_url=BASE).status_code in {200, 303}, page
    with world.engine.connect() as connection:
        chosen = connection.execute(text("SELECT input ->> 'collection' FROM job")).scalars().all()
        assert chosen == [str(last)] * 2
        for table in ("schedule", "subscription"):
            assert connection.execute(text(f"SELECT collection_id FROM {table}")).scalars().all() == [last]
