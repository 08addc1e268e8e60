"""The API keeps what its OpenAPI document says, whatever is sent: no 5xx, declared statuses, answers that match.

Schemathesis makes the requests out of the document, wrong ones too, and sends them in process over WSGI.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from pydantic import SecretStr
from schemathesis.specs.openapi import checks as _checks
from werkzeug.test import Client

from perdura.ids import new_id
from perdura.ports import TapeAccount, TapeOrder
from perdura.registry.tape_jobs import RegistryTapeJobs
from tests.contract.test_api.world import World, bearer

EXAMPLES = 15
CHECKS = [
    schemathesis.checks.not_a_server_error,
    _checks.status_code_conformance,
    _checks.content_type_conformance,
    _checks.response_schema_conformance,
    _checks.response_headers_conformance,
]
_client: list[Client] = []


def _application(environ: Any, start_response: Any) -> Any:
    """The registry of the world of the running test; the document itself needs none."""
    client = _client[0] if _client else World(None).registry()  # type: ignore[arg-type]
    return client.application(environ, start_response)


schema = schemathesis.openapi.from_wsgi("/api/openapi.json", _application)
_known: dict[str, list[str]] = {}


@schema.hook
def map_path_parameters(_context: Any, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Let two thirds of the ids be of things that are there, so that more than 404 is answered."""
    if parameters:
        for name, value in parameters.items():
            known = _known.get(name)
            if known and isinstance(value, str) and sum(value.encode("utf-8", "replace")) % 3:
                parameters[name] = known[len(value) % len(known)]
    return parameters


@schema.hook
def map_body(_context: Any, body: Any) -> Any:
    """Let half of the ids in bodies be of things that are there, too."""
    if isinstance(body, dict):
        for name, things in _IN_BODIES.items():
            known = _known.get(things)
            if known and name in body and len(str(body)) % 2:
                body[name] = known if name == "archives" else known[0]
    return body


_IN_BODIES = {"archive": "archive_id", "archives": "archive_id", "collection": "collection_id", "user": "user_id"}


@pytest.fixture
def filled(world: World) -> Iterator[World]:
    """An installation with one of everything that has an id."""
    keyed = world.settings.model_copy(update={"credential_keys": SecretStr(base64.b64encode(bytes(32)).decode())})
    world = replace(world, settings=keyed)
    archive = world.published(title="Titel")
    world.step(archive, "ingest", 0, "completed")
    failed = world.archive(state="failed", restricted=True)
    step = world.step(failed, "ingest", 0, "failed", error_code="x", error_message="y")
    account = world.account("viewer")
    world.token(account)
    collection = world.collection(archive)
    world.grant(account_id=account, archive_id=failed)
    world.premis(archive, "ingestion", "fixity check")
    _known.update(
        archive_id=[str(archive), str(failed)],
        step_id=[str(step)],
        user_id=[str(account)],
        collection_id=[str(collection)],
        path=["data/objects/image.png"],
        name=["own"],
    )
    _known.update(_made_by_requests(world, collection, archive))
    with world.engine.connect() as connection:
        _known["package_id"] = [str(row[0]) for row in connection.exec_driver_sql("SELECT id FROM package")]
        _known["token_id"] = [str(row[0]) for row in connection.exec_driver_sql("SELECT id FROM token")]
    _client.append(world.registry())
    yield world
    _client.clear()
    _known.clear()


def _made_by_requests(world: World, collection: UUID, archive: UUID) -> dict[str, list[str]]:
    """The ids of one of everything else that has one, each naming what it can name."""
    client, into = world.registry(), {"collection": str(collection)}

    def made(path: str, body: Any = None) -> str:
        answer = client.post(f"/api/v1{path}", headers=bearer(), json=body)
        assert answer.status_code in (201, 202), answer.text
        return str((answer.json or {})["id"])

    hook = {"way": "webhook", "address": "https://hook.test/x", "kinds": ["failed"], **into}
    retired, schedule = (
        made("/schedules", {"name": name, "source": "zenodo", "cron": "@daily", **into}) for name in ("Old", "New")
    )
    known = {
        "schedule_id": [schedule, retired],
        "run_id": [made(f"/schedules/{schedule}/runs")],
        "job_id": [made("/jobs", {"act": "collect", "archives": [str(archive)], **into}), _tape_job(world)],
        "subscription_id": [made("/subscriptions", hook)],
        "deposit_id": [made("/deposits", {"filename": "a.zip", "size": 1})],
        "grant_id": [made("/grants", {"group": "readers", **into})],
    }
    assert client.delete(f"/api/v1/schedules/{retired}", headers=bearer()).status_code == 200
    kept = client.put("/api/v1/credentials/zenodo", headers=bearer(), json={"secret": "not so secret"})
    assert kept.status_code == 200, kept.text
    steps = {"steps": ["ingest", "preserve", "archive"]}
    assert client.put("/api/v1/pipelines/own", headers=bearer(), json=steps).status_code == 200
    return known


def _tape_job(world: World) -> str:
    job, register = str(new_id()), RegistryTapeJobs(world.engine)
    register.admit(TapeOrder("aip-0", "0.tar", 10, 3), 0)
    register.accepted("aip-0", job, TapeAccount("https://fts.example.org:8446", "/CN=robot"))
    return job


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_documented(case: schemathesis.Case, filled: World) -> None:
    answer = case.call(headers=bearer(), app=_application)
    assert answer.status_code < 500, answer.text
    case.validate_response(answer, checks=CHECKS)
