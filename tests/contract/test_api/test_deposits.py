"""Material coming in: deposits, harvests, and what is wrong with a request for them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from perdura.ids import new_id
from tests.contract.test_api.world import BASE, World, bearer, csrf_of, sign_in


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


def test_a_form_from_elsewhere_stores_nothing(world: World, registry: Client) -> None:
    sign_in(registry)
    answer = registry.post("/add/upload", base_url=BASE, data={"csrf": "wrong", "file": (BytesIO(b"x"), "bag.zip")})
    assert answer.status_code == 403
    assert list(world.store.list(world.settings.bucket_incoming, "")) == []


def test_an_unknown_deposit_is_not_found(registry: Client) -> None:
    assert registry.get(f"/api/v1/deposits/{new_id()}", headers=bearer()).status_code == 404
    assert registry.post(f"/api/v1/deposits/{new_id()}/complete", headers=bearer()).status_code == 404
