"""Material coming in: deposits, harvests, and what is wrong with a request for them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import Client, TestResponse

from perdura.ids import new_id
from perdura.registry import deposits
from perdura.registry.deposits import Arrival
from perdura.storage.uploads import Upload
from tests.contract.test_api.world import BASE, World, bearer, csrf_of, sign_in

MIB = 2**20


def _post(registry: Client, address: str, body: Any) -> TestResponse:
    return registry.post(address, headers=bearer(), json=body)


def _deposit_key(world: World, deposit: str) -> tuple[str, str]:
    return world.settings.bucket_incoming, f"deposits/{deposit}"


def test_a_deposit_is_announced_sent_and_completed(world: World, registry: Client) -> None:
    made = _post(registry, "/api/v1/deposits", {"filename": "bag.zip", "size": 5, "title": "Ein Titel"})
    assert made.status_code == 201
    told = made.get_json()
    assert told["upload"]["method"] == "PUT"
    world.store.put(*_deposit_key(world, told["id"]), b"12345")
    done = registry.post(told["links"]["complete"], headers=bearer())
    done.close()
    assert done.status_code == 202
    assert done.get_json()["archive"] == told["archive"]
    assert [event.type for event in world.emitter.sent] == ["org.perdura.ingest.requested.v1"]
    again = registry.post(told["links"]["complete"], headers=bearer())
    again.close()
    assert again.status_code == 202
    assert len(world.emitter.sent) == 1
    shown = registry.get(told["links"]["self"], headers=bearer()).get_json()
    assert shown["received"] is not None
    assert shown["state"] == "queued"


def test_nothing_begins_before_all_bytes_are_there(world: World, registry: Client) -> None:
    told = _post(registry, "/api/v1/deposits", {"filename": "bag.zip", "size": 5}).get_json()
    early = registry.post(told["links"]["complete"], headers=bearer())
    assert (early.status_code, early.get_json()["type"]) == (409, "urn:perdura:problem:not-uploaded")
    world.store.put(*_deposit_key(world, told["id"]), b"1234")
    short = registry.post(told["links"]["complete"], headers=bearer())
    assert (short.status_code, short.get_json()["type"]) == (409, "urn:perdura:problem:size-differs")
    assert world.emitter.sent == []


class TestInParts:
    """Uploads in parts: listed, resumed, joined once."""

    def begin(self, world: World, registry: Client, size: int) -> tuple[dict[str, Any], Upload]:
        told = _post(registry, "/api/v1/deposits", {"filename": "b.zip", "size": size, "parts": True}).get_json()
        assert told["upload"] is None
        with world.engine.connect() as connection:
            row = connection.execute(
                text("SELECT bucket, key, upload_id FROM deposit WHERE id = :id"), {"id": told["id"]}
            ).one()
        return told, Upload(row.bucket, row.key, row.upload_id)

    def parts(self, registry: Client, told: dict[str, Any], **query: int) -> dict[str, Any]:
        with registry.get(told["links"]["parts"], headers=bearer(), query_string=query) as answer:
            assert answer.status_code == 200
            return dict(answer.get_json())

    def complete(self, registry: Client, told: dict[str, Any]) -> TestResponse:
        with registry.post(told["links"]["complete"], headers=bearer()) as answer:
            answer.get_data()
            return answer

    def test_parts_are_listed_until_they_have_arrived(self, world: World, registry: Client) -> None:
        told, upload = self.begin(world, registry, 40 * MIB)
        shown = self.parts(registry, told)
        assert (shown["count"], shown["part_size"], shown["received"]) == (3, 16 * MIB, 0)
        assert [(part["number"], part["offset"], part["size"]) for part in shown["items"]] == [
            (1, 0, 16 * MIB),
            (2, 16 * MIB, 16 * MIB),
            (3, 32 * MIB, 8 * MIB),
        ]
        assert all(part["url"] and not part["received"] for part in shown["items"])
        world.store.uploads.take(upload, 2, bytes(16 * MIB))
        world.store.uploads.take(upload, 3, bytes(5))
        assert [part["received"] for part in self.parts(registry, told)["items"]] == [False, True, False]

    def test_parts_are_listed_in_pages(self, world: World, registry: Client) -> None:
        told, _ = self.begin(world, registry, 40 * MIB)
        page = self.parts(registry, told, limit=2)
        assert ([part["number"] for part in page["items"]], page["next"]) == ([1, 2], 3)
        page = self.parts(registry, told, first=3)
        assert ([part["number"] for part in page["items"]], page["next"]) == ([3], None)

    def test_a_deposit_is_complete_when_all_parts_are(self, world: World, registry: Client) -> None:
        told, upload = self.begin(world, registry, 17 * MIB)
        world.store.uploads.take(upload, 1, bytes(16 * MIB))
        early = self.complete(registry, told)
        assert (early.status_code, early.get_json()["type"]) == (409, "urn:perdura:problem:parts-missing")
        assert world.emitter.sent == []
        world.store.uploads.take(upload, 2, bytes(MIB))
        assert [self.complete(registry, told).status_code for _ in range(2)] == [202, 202]
        assert [event.type for event in world.emitter.sent] == ["org.perdura.ingest.requested.v1"]
        assert world.store.head(upload.bucket, upload.key).size == 17 * MIB

    def test_parts_that_another_request_has_joined_meanwhile_are_complete(
        self, world: World, registry: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told, upload = self.begin(world, registry, 17 * MIB)
        for number, size in ((1, 16 * MIB), (2, MIB)):
            world.store.uploads.take(upload, number, bytes(size))
        complete = world.store.uploads.complete

        def twice(*arguments: Any) -> Any:
            complete(*arguments)
            return complete(*arguments)

        monkeypatch.setattr(world.store.uploads, "complete", twice)
        assert self.complete(registry, told).status_code == 202
        assert [event.type for event in world.emitter.sent] == ["org.perdura.ingest.requested.v1"]

    def test_what_needs_more_than_one_request_comes_in_parts_unasked(self, registry: Client) -> None:
        told = _post(registry, "/api/v1/deposits", {"filename": "b.zip", "size": 5 * 2**40}).get_json()
        shown = self.parts(registry, told, first=9_000)
        assert shown["count"] <= 10_000
        assert told["upload"] is None

    def test_another_deposit_has_no_parts(self, registry: Client) -> None:
        told = _post(registry, "/api/v1/deposits", {"filename": "b.zip", "size": 5}).get_json()
        with registry.get(f"{told['links']['self']}/parts", headers=bearer()) as answer:
            assert (answer.status_code, answer.get_json()["type"]) == (409, "urn:perdura:problem:not-in-parts")


class TestCancelling:
    """A deposit that nobody sends any more."""

    def announce(self, registry: Client, header: dict[str, str], **more: Any) -> dict[str, Any]:
        body = {"filename": "b.zip", "size": 17 * MIB, **more}
        return dict(registry.post("/api/v1/deposits", headers=header, json=body).get_json())

    def cancel(self, registry: Client, told: dict[str, Any], header: dict[str, str]) -> TestResponse:
        return registry.post(f"{told['links']['self']}/cancel", headers=header)

    def test_ones_own_is_cancelled_once_and_its_parts_are_dropped(self, world: World, registry: Client) -> None:
        depositor = world.bearer("depositor")
        told = self.announce(registry, depositor, parts=True)
        cancelled = self.cancel(registry, told, depositor)
        assert (cancelled.status_code, cancelled.get_json()["state"]) == (200, "cancelled")
        parts = registry.get(told["links"]["parts"], headers=depositor)
        assert (parts.status_code, parts.get_json()["type"]) == (409, "urn:perdura:problem:upload-over")
        again = self.cancel(registry, told, depositor)
        assert (again.status_code, again.get_json()["type"]) == (409, "urn:perdura:problem:not-waiting")

    @pytest.mark.parametrize("way", ["deposits/{id}", "archives/{archive}"])
    def test_what_arrives_later_is_not_ingested(self, world: World, registry: Client, way: str) -> None:
        told = self.announce(registry, bearer(), size=5)
        assert registry.post(f"/api/v1/{way.format(**told)}/cancel", headers=bearer()).status_code in (200, 202)
        bucket, key = _deposit_key(world, told["id"])
        stored = world.store.put(bucket, key, b"12345").info
        late = registry.post(told["links"]["complete"], headers=bearer())
        assert (late.status_code, late.get_json()["type"]) == (409, "urn:perdura:problem:deposit-cancelled")
        arrival = Arrival(bucket, key, stored.ref.version_id, stored.ref.etag, stored.size)
        with world.engine.begin() as connection:
            assert deposits.unknown_keys(connection, [arrival]) == []
            assert deposits.receive(connection, arrival, source="/webhook").events == ()
        shown = registry.get(told["links"]["self"], headers=bearer()).get_json()
        assert (shown["state"], shown["received"]) == ("cancelled", None)

    def test_what_was_received_is_not_cancelled_this_way(self, world: World, registry: Client) -> None:
        depositor = world.bearer("depositor")
        told = self.announce(registry, depositor, size=5)
        world.store.put(*_deposit_key(world, told["id"]), b"12345")
        registry.post(told["links"]["complete"], headers=depositor).close()
        assert self.cancel(registry, told, depositor).status_code == 409
        assert registry.get(told["links"]["self"], headers=depositor).get_json()["state"] == "queued"

    def test_ones_own_are_listed_so_that_they_can_be_named(self, world: World, registry: Client) -> None:
        depositor, other = world.bearer("depositor"), world.bearer("depositor")
        mine = [self.announce(registry, depositor)["id"] for _ in range(5)]
        theirs = self.announce(registry, other)["id"]
        registry.post(f"/api/v1/deposits/{mine[0]}/cancel", headers=depositor)

        def listed(header: dict[str, str], query: str = "") -> list[str]:
            found, cursor = [], ""
            while True:
                page = registry.get(f"/api/v1/deposits?limit=2{query}{cursor}", headers=header).get_json()
                found += [item["id"] for item in page["items"]]
                if page["next"] is None:
                    return found
                cursor = f"&cursor={page['next']}"

        assert listed(depositor) == mine[::-1]
        assert listed(depositor, "&waiting=true") == mine[:0:-1]
        assert listed(other) == [theirs]
        assert listed(world.bearer("archivist")) == [theirs, *mine[::-1]]
        assert registry.get("/api/v1/deposits", headers=world.bearer("viewer")).status_code == 403
        waiting = registry.get(f"/api/v1/deposits/{mine[1]}", headers=depositor).get_json()
        assert waiting["links"]["complete"] == f"/api/v1/deposits/{mine[1]}/complete"

    def test_others_may_not_unless_they_operate(self, world: World, registry: Client) -> None:
        told = self.announce(registry, world.bearer("depositor"))
        for role in ("viewer", "depositor", "auditor"):
            assert self.cancel(registry, told, world.bearer(role)).status_code == 403
        assert registry.get(told["links"]["self"], headers=bearer()).get_json()["state"] == "awaiting_upload"
        with world.engine.begin() as connection:
            connection.execute(text("UPDATE archive SET restricted = true WHERE id = :id"), {"id": told["archive"]})
        assert self.cancel(registry, told, world.bearer("depositor")).status_code == 404
        assert self.cancel(registry, told, world.bearer("archivist")).status_code == 200


def test_a_file_that_was_accepted_before_is_answered_with_its_archive(world: World, registry: Client) -> None:
    body = {"filename": "bag.zip", "size": 5, "sha256": "a" * 64}
    first = _post(registry, "/api/v1/deposits", body).get_json()
    assert not first["existing"]
    second = _post(registry, "/api/v1/deposits", body).get_json()
    assert not second["existing"], "nobody knows yet whether the first is accepted"
    with world.engine.begin() as connection:
        connection.execute(
            text("UPDATE archive SET state = 'completed', content_sha256 = 'b' WHERE id = :id"),
            {"id": first["archive"]},
        )
    third = _post(registry, "/api/v1/deposits", body).get_json()
    assert (third["existing"], third["archive"], third["upload"]) == (True, first["archive"], None)
    other = _post(registry, "/api/v1/deposits", {**body, "size": 6}).get_json()
    assert not other["existing"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"size": 1}, "body.filename"),
        ({"filename": "a.zip"}, "body.size"),
        ({"filename": "a.zip", "size": 0}, "body.size"),
        ({"filename": "a.zip", "size": 2**63}, "body.size"),
        ({"filename": "", "size": 1}, "body.filename"),
        ({"filename": "../etc/passwd", "size": 1}, "body.filename"),
        ({"filename": "..", "size": 1}, "body.filename"),
        ({"filename": "a\\b.zip", "size": 1}, "body.filename"),
        ({"filename": "a\nb.zip", "size": 1}, "body.filename"),
        ({"filename": "a\u0000b.zip", "size": 1}, "body.filename"),
        ({"filename": "a" * 256, "size": 1}, "body.filename"),
        ({"filename": "a.zip", "size": 1, "sha256": "XYZ"}, "body.sha256"),
        ({"filename": "a.zip", "size": 1, "sha512": "a"}, "body.sha512"),
        ({"filename": ["a.zip"], "size": 1}, "body.filename"),
    ],
)
def test_every_wrong_field_of_a_deposit_is_named(registry: Client, body: dict[str, Any], field: str) -> None:
    answer = _post(registry, "/api/v1/deposits", body)
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"
    assert field in [error["field"] for error in answer.get_json()["errors"]]
    assert len(answer.data) <= 512


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"size": NaN}', "application/json", 400),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b" " * (11 * 2**20), "application/json", 413),
    ],
)
def test_what_is_no_json_object_is_refused(registry: Client, data: bytes, content_type: str, status: int) -> None:
    answer = registry.post("/api/v1/deposits", headers=bearer(), data=data, content_type=content_type)
    assert answer.status_code == status
    assert len(answer.data) <= 512


def test_a_harvest_begins_with_a_url_or_with_source_and_recid(world: World, registry: Client) -> None:
    for body in ({"url": "https://zenodo.org/records/1"}, {"source": "zenodo", "recid": "1"}):
        answer = _post(registry, "/api/v1/harvests", body)
        answer.close()
        assert answer.status_code == 202
        shown = registry.get(answer.get_json()["links"]["self"], headers=bearer()).get_json()
        assert shown["state"] == "queued"
    assert len(world.emitter.sent) == 2


@pytest.mark.parametrize("body", [{}, {"source": "zenodo"}, {"recid": "1"}, {"url": "x", "source": "a", "recid": "b"}])
def test_half_a_harvest_is_refused(registry: Client, body: dict[str, str]) -> None:
    assert _post(registry, "/api/v1/harvests", body).status_code == 422


def test_an_unknown_address_cannot_be_resolved(registry: Client) -> None:
    answer = _post(registry, "/api/v1/harvests/resolve", {"url": "http://127.0.0.1:9/records/1"})
    assert answer.status_code == 422
    assert answer.get_json()["type"].startswith("urn:perdura:problem:")


def test_a_plain_form_uploads_without_scripts(world: World, registry: Client) -> None:
    sign_in(registry)
    token = csrf_of(registry.get("/add", base_url=BASE))
    content = bytes(range(256)) * 1500
    answer = registry.post(
        "/add/upload",
        base_url=BASE,
        data={"csrf": token, "title": "Aus dem Formular", "file": (BytesIO(content), "bag.zip")},
    )
    answer.close()
    assert answer.status_code == 303
    shown = registry.get(f"/api/v1{answer.headers['Location']}", headers=bearer()).get_json()
    assert shown["title"] == "Aus dem Formular"
    stored = list(world.store.list(world.settings.bucket_incoming, "deposits/"))
    assert world.store.read(stored[0].ref) == content
    assert [event.type for event in world.emitter.sent] == ["org.perdura.ingest.requested.v1"]


@pytest.mark.parametrize("data", [{}, {"title": "x"}, {"file": (BytesIO(b""), "empty.zip")}])
def test_a_form_without_a_file_is_refused(world: World, registry: Client, data: dict[str, Any]) -> None:
    sign_in(registry)
    token = csrf_of(registry.get("/add", base_url=BASE))
    answer = registry.post(
        "/add/upload", base_url=BASE, data={"csrf": token, **data}, content_type="multipart/form-data"
    )
    assert answer.status_code == 422
    assert world.emitter.sent == []
    with world.engine.connect() as connection:
        waiting = "SELECT count(*) FROM archive WHERE state = 'awaiting_upload'"
        assert connection.execute(text(waiting)).scalar() == 0


def test_a_form_from_elsewhere_stores_nothing(world: World, registry: Client) -> None:
    sign_in(registry)
    answer = registry.post("/add/upload", base_url=BASE, data={"csrf": "wrong", "file": (BytesIO(b"x"), "bag.zip")})
    assert answer.status_code == 403
    assert list(world.store.list(world.settings.bucket_incoming, "")) == []


def test_an_unknown_deposit_is_not_found(registry: Client) -> None:
    assert registry.get(f"/api/v1/deposits/{new_id()}", headers=bearer()).status_code == 404
    assert registry.post(f"/api/v1/deposits/{new_id()}/complete", headers=bearer()).status_code == 404


def test_nobody_sends_or_completes_the_deposit_of_another(world: World, registry: Client) -> None:
    mine, other = world.bearer("depositor"), world.bearer("depositor")
    wanted = {"filename": "a.zip", "size": 5, "parts": True}
    told = registry.post("/api/v1/deposits", headers=mine, json=wanted).get_json()
    assert registry.get(told["links"]["parts"], headers=other).status_code == 403
    assert registry.post(told["links"]["complete"], headers=other).status_code == 403
    assert registry.get(told["links"]["parts"], headers=mine).status_code == 200
    assert registry.get(told["links"]["parts"], headers=world.bearer("archivist")).status_code == 200
