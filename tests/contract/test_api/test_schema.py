"""The API keeps what its OpenAPI document says, whatever is sent: no 5xx, declared statuses, answers that match.

Schemathesis makes the requests out of the document, wrong ones too, and sends them in process over WSGI.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from pydantic import SecretStr
from schemathesis.specs.openapi import checks as _checks
from werkzeug.test import Client

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
    )
    with world.engine.connect() as connection:
        _known["package_id"] = [str(row[0]) for row in connection.exec_driver_sql("SELECT id FROM package")]
        _known["token_id"] = [str(row[0]) for row in connection.exec_driver_sql("SELECT id FROM token")]
    _client.append(world.registry())
    yield world
    _client.clear()
    _known.clear()


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_documented(case: schemathesis.Case, filled: World) -> None:
    answer = case.call(headers=bearer(), app=_application)
    assert answer.status_code < 500, answer.text
    case.validate_response(answer, checks=CHECKS)
