"""Finding Archives: filters, facets, exports; counters that say the same as counting."""

from __future__ import annotations

import csv
import io
import json
import random
import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from werkzeug.test import Client

from perdura.api.queries import finding
from perdura.api.queries.criteria import Criteria
from perdura.api.queries.facets import Cell, tally
from perdura.ids import new_id
from perdura.registry import archive_index
from tests.contract.test_api.world import World, bearer


@pytest.fixture
def named(world: World) -> dict[str, str]:
    """Three Archives that differ in everything."""
    zenodo = world.resource("zenodo", "4711")
    one = world.archive(
        title="Temperature profiles", resource_id=zenodo, origin="harvest",
        created_at=datetime(2026, 1, 5, 12, tzinfo=UTC),
        metadata_={"creators": [{"name": "Curie, Marie"}], "description": "Atlantic"},
    )  # fmt: skip
    two = world.archive(title="Loss maps", state="failed", created_at=datetime(2026, 2, 1, tzinfo=UTC))
    three = world.archive(title="Loss of signal", state="waiting", created_at=datetime(2026, 2, 2, tzinfo=UTC))
    world.aip(one, {"data/objects/a.txt": b"x" * 5000})
    world.step(one, "ingest", 0, "completed", finished_at=datetime(2026, 1, 6, tzinfo=UTC))
    world.step(two, "ingest", 0, "completed")
    world.step(two, "preserve", 1, "failed", error_code="no-space", finished_at=datetime(2026, 2, 3, tzinfo=UTC))
    world.step(three, "archive", 2, "waiting")
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE package_file SET format_key = 'x-fmt/111', format_name = 'Plain text'"))
        connection.execute(text("UPDATE package SET kind = kind"))
    return {str(one): "one", str(two): "two", str(three): "three"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=failed&state=waiting", {"two", "three"}),
        ("source=zenodo", {"one"}),
        ("source=zenodo&source=cds", {"one"}),
        ("origin=harvest", {"one"}),
        ("step=ingest:completed", {"one", "two"}),
        ("step=ingest:completed&step=preserve", {"two"}),
        ("cause=no-space", {"two"}),
        ("format=x-fmt/111", {"one"}),
        ("format=fmt/18", set()),
        ("created_from=2026-02-01", {"two", "three"}),
        ("created_to=2026-02-01", {"one", "two"}),
        ("created_from=2026-01-05&created_to=2026-01-05", {"one"}),
        ("size_min=5000", {"one"}),
        ("size_max=10", set()),
        ("q=curie", {"one"}),
        ("q=loss", {"two", "three"}),
        ("q=los+map", {"two"}),
        ("q=4711", {"one"}),
        ("q=loss&state=waiting", {"three"}),
        ("q=!", set()),
        ("q=!+!", set()),
        ("q=%3F+%C2%A0%E2%80%83%3F", set()),
        ("q=%27+%26", set()),
    ],
)
def test_every_filter_finds_what_it_should(
    world: World, registry: Client, named: dict[str, str], query: str, expected: set[str]
) -> None:
    page = registry.get(f"/api/v1/archives?{query}", headers=bearer()).get_json()
    assert {named[item["id"]] for item in page["items"]} == expected
    found = registry.get(f"/api/v1/archives/facets?{query}", headers=bearer()).get_json()
    assert found["total"] == len(expected)
    assert found["exact"]


@pytest.mark.parametrize(
    "query",
    ["step=a%3Ab%3Ac", "created_from=yesterday", "size_min=-1", "collection=1", "state=odd", "q=a&q=b", "limit=9999"],
)
def test_a_wrong_filter_names_its_field(registry: Client, query: str) -> None:
    for path in ("archives", "archives/facets", "archives/export"):
        answer = registry.get(f"/api/v1/{path}?{query}", headers=bearer())
        assert answer.status_code == 422
        assert answer.get_json()["errors"][0]["field"].startswith(f"query.{query.split('=')[0]}")


@pytest.mark.parametrize("text", ["!", "? ?", "- ' -", "\u2003!\u2003!"])
def test_a_bulk_act_on_what_no_word_finds_reaches_nothing(
    world: World, registry: Client, named: dict[str, str], text: str
) -> None:
    sent = {"act": "cancel", "filter": {"q": text}}
    planned = registry.post("/api/v1/jobs/plan", headers=bearer(), json=sent)
    assert planned.get_json()["total"] == 0
    assert registry.post("/api/v1/jobs", headers=bearer(), json=sent).status_code == 409


def test_facets_leave_their_own_criterion_out_of_account(registry: Client, named: dict[str, str]) -> None:
    found = registry.get("/api/v1/archives/facets?state=failed", headers=bearer()).get_json()
    states = {facet["value"]: facet["count"] for facet in found["facets"]["state"]}
    assert states == {"completed": 1, "failed": 1, "waiting": 1}
    assert found["facets"]["cause"] == [{"value": "no-space", "name": None, "count": 1}]
    assert found["facets"]["source"] == []
    everything = registry.get("/api/v1/archives/facets", headers=bearer()).get_json()
    assert everything["facets"]["format"] == [{"value": "x-fmt/111", "name": "Plain text", "count": 1}]


def test_counters_agree_with_counting_whatever_happens_at_once(world: World) -> None:
    ids = [world.archive(state="queued") for _ in range(8)]

    def churn(number: int) -> None:
        for round_ in range(12):
            archive = ids[(number + round_) % len(ids)]
            with world.engine.begin() as connection:
                connection.execute(
                    text("UPDATE archive SET state = CASE state WHEN 'queued' THEN 'running' ELSE 'queued' END "
                         "WHERE id = :id"), {"id": archive},
                )  # fmt: skip
                connection.execute(
                    text("INSERT INTO step (id, archive_id, name, position, attempt) VALUES "
                         "(:step, :id, 'ingest', 0, :n)"),
                    {"step": new_id(), "id": archive, "n": 1 + number * 100 + round_},
                )  # fmt: skip
            if round_ % 4 == 0:
                with world.engine.begin() as connection:
                    archive_index.fold(connection)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with world.engine.connect() as connection:
        counted = connection.execute(text(
            "SELECT state, sum(archives) FROM (SELECT * FROM archive_count UNION ALL "
            "SELECT state, source, restricted, origin, step, cause, archives, bytes FROM archive_change) AS c "
            "GROUP BY state HAVING sum(archives) <> 0 ORDER BY 1"
        )).all()  # fmt: skip
        real = connection.execute(text("SELECT state, count(*) FROM archive GROUP BY state ORDER BY 1")).all()
        stale = connection.execute(
            text("""
            SELECT count(*) FROM archive_index AS kept JOIN archive_index_source AS source USING (archive_id)
            WHERE (kept.state, kept.steps, kept.step) IS DISTINCT FROM (source.state, source.steps, source.step)
        """)
        ).scalar_one()
    assert counted == real
    assert stale == 0


RESTRICTED_DAYS = """
    SELECT measure, day, name, detail, bucket, sum(count), sum(amount) FROM (
        SELECT substr(measure, 12) AS measure, day, name, detail, bucket, count, amount
        FROM daily_change WHERE measure LIKE 'restricted-%'
        UNION ALL SELECT substr(measure, 12), day, name, detail, bucket, count, amount
        FROM daily_count WHERE measure LIKE 'restricted-%'
    ) AS counted GROUP BY 1, 2, 3, 4, 5 HAVING sum(count) <> 0 ORDER BY 1, 2, 3, 4, 5
"""
RESTRICTED_REALLY = """
    SELECT measure, day, name, detail, bucket, sum(count), sum(amount)
    FROM archive_index, archive_days(archive_id) WHERE restricted GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""


def test_what_is_restricted_is_counted_apart_whatever_happens_at_once(world: World, engine: Engine) -> None:
    ids = [world.archive(state="running", restricted=number % 2 == 0) for number in range(4)]
    changes = [
        "UPDATE archive SET restricted = NOT restricted WHERE id = :id",
        "INSERT INTO step (id, archive_id, name, position, attempt, state, finished_at) "
        "VALUES (:new, :id, 'ingest', 0, :n, 'failed', clock_timestamp())",
        "UPDATE archive SET state = CASE state WHEN 'failed' THEN 'running' ELSE 'failed' END WHERE id = :id",
        "INSERT INTO package (id, archive_id, kind, bucket, key, container, size, checksums, accepted) "
        "VALUES (:new, :id, 'SIP', 'b', CAST(:new AS text), 'tar', 7, '{}', true)",
        "INSERT INTO package_file (package_id, path, size, checksums, format_key, format_name) "
        "SELECT id, CAST(:new AS text), 3, '{}', 'fmt/1', 'One' FROM package WHERE archive_id = :id LIMIT 1",
    ]

    def churn(number: int) -> None:
        chance = random.Random(number)
        for round_ in range(40):
            archive, some = chance.choice(ids), chance.sample(changes, chance.randint(1, len(changes)))
            with world.engine.begin() as connection:
                connection.execute(text("SELECT FROM archive WHERE id = :id FOR UPDATE"), {"id": archive})
                for change in some:
                    given = {"id": archive, "new": new_id(), "n": 1 + number * 100 + round_}
                    connection.execute(text(change), given)
            if round_ % 10 == 0:
                with world.engine.begin() as connection:
                    archive_index.fold(connection)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def read(query: str) -> list[Any]:
        with world.engine.connect() as connection:
            return list(connection.execute(text(query)).all())

    assert read(RESTRICTED_DAYS) == read(RESTRICTED_REALLY) != []
    with engine.begin() as connection:
        connection.execute(text("SELECT archive_index_rebuild()"))
    assert read(RESTRICTED_DAYS) == read(RESTRICTED_REALLY)


def test_an_index_made_anew_is_the_same(world: World, engine: Engine, named: dict[str, str]) -> None:
    queries = ("SELECT * FROM archive_index ORDER BY archive_id", "SELECT * FROM package_format ORDER BY 1, 2")

    def read() -> list[Any]:
        with world.engine.connect() as connection:
            return [connection.execute(text(query)).all() for query in queries]

    before = read()
    with engine.begin() as connection:
        connection.execute(text("SELECT archive_index_rebuild()"))
    assert read() == before


def test_an_export_holds_every_match_and_no_formula(world: World, registry: Client) -> None:
    for number in range(1203):
        world.archive(title="=cmd()" if number == 0 else f"Number {number}")
    answer = registry.get("/api/v1/archives/export?origin=deposit", headers=bearer())
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len({row["id"] for row in rows}) == 1203
    assert rows[-1]["title"] == "'=cmd()"
    lines = registry.get("/api/v1/archives/export?type=ndjson&q=1202", headers=bearer()).text.splitlines()
    assert [json.loads(line)["title"] for line in lines] == ["Number 1202"]


def test_a_list_takes_few_statements(world: World, registry: Client, named: dict[str, str]) -> None:
    for path in ("/api/v1/archives?q=loss", "/api/v1/archives/facets?q=loss", "/api/v1/archives/facets"):
        counting = world.statements()
        seen = next(counting)
        assert registry.get(path, headers=bearer()).status_code == 200
        counting.close()
        assert len(seen) <= 4


def test_counts_that_are_lower_bounds_say_so() -> None:
    cells = [Cell({"state": "failed", "source": "", "origin": "upload", "step": "", "cause": "x"}, 3, 10)]
    found = tally(cells, Criteria(states=("completed",)), exact=False)
    assert (found.total, found.exact) == (0, False)
    assert found.counts["state"] == [("failed", 3)]
    assert found.counts["cause"] == []


def test_hostile_metadata_can_be_searched_and_breaks_nothing(world: World, registry: Client) -> None:
    archive = world.archive(title="x" * 5000, metadata_={"deep": [[["needle"]]], "big": "word " * 300_000})
    page = registry.get("/api/v1/archives?q=needle", headers=bearer()).get_json()
    assert [item["id"] for item in page["items"]] in ([str(archive)], [])


IDENTIFIED = {
    "title": "CERN-THESIS-2024-001: data_table.csv of O\u2019Brien \u2013 2024-05-01, caf\u00e9",
    "metadata_": {
        "doi": "10.5281/zenodo.123",
        "alternate": ["arXiv:2401.01234v2", "https://doi.org/10.1/abc?a=b", "978-3-16-148410-0"],
        "creators": [{"name": "Doe, Jane", "orcid": "0000-0002-1825-0097", "mail": "jane.doe@cern.ch"}],
        "title_hi": "\u0939\u093f\u0928\u094d\u0926\u0940",
    },
}


@pytest.mark.parametrize(
    "words",
    [
        "10.5281/zenodo.123", "10.5281/zen", "zenodo", "zenodo.123", "doi:", "https://doi.org/10.1/abc", "doi.org",
        "arXiv:2401.01234v2", "2401.01234", "0000-0002-1825-0097", "1825-0097", "978-3-16-148410-0", "148410",
        "2024-05-01", "2024", "CERN-THESIS-2024-001", "thesis", "thesis-2024", "data_table.csv", "table", "data_t",
        "csv", "jane.doe@cern.ch", "cern.ch", "cern", "Doe, Jane", "jane doe", "O'Brien", "o\u2019brien", "brien",
        "caf\u00e9", "\u0939\u093f\u0928\u094d\u0926\u0940", "zenodo 2024-05", "(thesis)",
    ],
)  # fmt: skip
def test_identifiers_and_their_parts_are_found(world: World, registry: Client, words: str) -> None:
    archive = world.archive(**IDENTIFIED)
    world.archive(title="Something else: 10 things, 123 more, 2024")
    found = registry.get("/api/v1/archives", query_string={"q": words}, headers=bearer()).get_json()["items"]
    assert str(archive) in [item["id"] for item in found]


@pytest.mark.parametrize("words", ["10.5281/zenodo.124", "zenodo.12 csv.data", "table_data", "2024-01-05", "enodo"])
def test_what_stands_there_otherwise_is_not(world: World, registry: Client, words: str) -> None:
    world.archive(**IDENTIFIED)
    assert registry.get("/api/v1/archives", query_string={"q": words}, headers=bearer()).get_json()["items"] == []


def test_words_of_before_are_taken_anew_a_few_at_a_time(world: World, registry: Client) -> None:
    archives = [world.archive(title=f"old/file_{number}.txt") for number in range(5)]
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE archive_index SET search = to_tsvector('simple', 'old/file.txt')"))
        connection.execute(text("INSERT INTO search_rebuild VALUES ('ffffffff-ffff-ffff-ffff-ffffffffffff')"))
    done = []
    while not done or done[-1]:
        with world.engine.begin() as connection:
            done.append(archive_index.take_words(connection, 2))
    assert done == [2, 2, 1, 0]
    for number, archive in enumerate(archives):
        query = {"q": f"file_{number}"}
        found = registry.get("/api/v1/archives", query_string=query, headers=bearer()).get_json()["items"]
        assert [item["id"] for item in found] == [str(archive)]
    with world.engine.begin() as connection:
        assert archive_index.take_words(connection, 2) == 0
        archive_index.fold(connection)
    assert registry.get("/api/v1/archives/facets", headers=bearer()).get_json()["total"] == 5


def test_a_title_that_is_changed_while_words_are_taken_anew_is_the_one_that_is_found(
    world: World, registry: Client
) -> None:
    archive = world.archive(title="Before")
    with world.engine.begin() as connection:
        connection.execute(text("INSERT INTO search_rebuild VALUES ('ffffffff-ffff-ffff-ffff-ffffffffffff')"))
    with world.engine.connect() as changing, world.engine.connect() as taking:
        changing.execute(text("UPDATE archive SET title = 'After' WHERE id = :id"), {"id": archive})
        assert archive_index.take_words(taking, 10) == 1
        committing = threading.Thread(target=changing.commit)
        committing.start()
        taking.commit()
        committing.join(10)
    with world.engine.connect() as changing, world.engine.connect() as taking:
        changing.execute(text("UPDATE archive SET title = 'Long after' WHERE id = :id"), {"id": archive})
        changing.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        taking.execute(text("UPDATE search_rebuild SET before = 'ffffffff-ffff-ffff-ffff-ffffffffffff'"))
        with pytest.raises(DBAPIError):
            archive_index.take_words(taking, 10)
        changing.commit()
    found = registry.get("/api/v1/archives?q=long+after", headers=bearer()).get_json()["items"]
    assert [item["id"] for item in found] == [str(archive)]


@pytest.mark.parametrize("few", [1, 5_000])
def test_pages_of_words_in_a_row_are_the_newest_first_however_many_match(
    world: World, registry: Client, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(finding, "FEW", few)
    archives = [str(world.archive(metadata_={"doi": f"10.5281/zenodo.{number}"})) for number in range(5)]
    assert Criteria(text="10.5281/zenodo").phrased
    assert not Criteria(text="zenodo 10").phrased
    query: dict[str, str] = {"q": "10.5281/zenodo", "limit": "2"}
    seen: list[str] = []
    for _ in range(3):
        page = registry.get("/api/v1/archives", query_string=query, headers=bearer()).get_json()
        seen += [item["id"] for item in page["items"]]
        query["cursor"] = page["next"] or ""
    assert seen == archives[::-1]
    facets = registry.get("/api/v1/archives/facets?q=10.5281/zenodo", headers=bearer()).get_json()
    assert (facets["total"], facets["exact"]) == (5, True)


@pytest.mark.parametrize("asked", ["école", "e\u0301cole", "ecole", "ÉCOLE", "naive", "naïve", "München", "Munchen"])
def test_words_are_found_however_their_accents_are_written(world: World, registry: Client, asked: str) -> None:
    wanted = world.archive(title="L'e\u0301cole na\u00efve de Mu\u0308nchen")
    found = registry.get(f"/api/v1/archives?q={quote(asked)}", headers=bearer()).get_json()["items"]
    assert [item["id"] for item in found] == [str(wanted)]


@pytest.mark.parametrize("field", ["state", "source", "origin", "cause", "format"])
def test_a_criterion_has_so_many_values_at_most(registry: Client, field: str) -> None:
    value = "failed" if field == "state" else "x"
    body = {"act": "retry", "filter": {field: [value] * 51}}
    for path in ("/api/v1/jobs", "/api/v1/jobs/plan"):
        refused = registry.post(path, json=body, headers=bearer())
        assert (refused.status_code, refused.get_json()["errors"][0]["field"]) == (422, f"body.filter.{field}")
    listed = registry.get("/api/v1/archives?" + "&".join([f"{field}={value}"] * 51), headers=bearer())
    assert (listed.status_code, listed.get_json()["errors"][0]["field"]) == (422, f"query.{field}")


def test_texts_that_grow_when_they_are_decomposed_are_taken_all_the_same(world: World) -> None:
    world.archive(title="\ufdfa " * 60_000)
