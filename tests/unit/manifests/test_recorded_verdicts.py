"""The checker agrees with every recorded verdict of Knative's admission webhooks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdura.local.manifests_check import check
from perdura.local.manifests_findings import Level
from perdura.local.manifests_schema import Schemas, read_schemas
from tests.shared_data import SHARED, reference_data

VERDICTS: list[dict[str, Any]] = (
    json.loads(reference_data("knative-oracle", "manifest-verdicts.json").read_text()) if SHARED else []
)


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return read_schemas(reference_data("crds"))


@pytest.mark.skipif(not VERDICTS, reason="reference data (../shared) is not here")
@pytest.mark.parametrize("recorded", VERDICTS, ids=lambda recorded: str(recorded["case"]))
def test_recorded(recorded: dict[str, Any], schemas: Schemas) -> None:
    if recorded["webhook"] == "PANIC":
        pytest.skip("the real validator needs a cluster for this one")
    [checked] = check([recorded["manifest"]], schemas)
    errors = [finding for finding in checked.findings if finding.level is Level.ERROR]
    assert checked.rejected == (recorded["webhook"] in ("INVALID", "STRICT")), errors
    if recorded["webhook"] == "INVALID":
        fields = recorded["webhook_error"].splitlines()[0].rpartition(": ")[2].split(", ")
        found = [path for finding in errors for path in finding.path.split(", ")]
        assert set(filter(None, fields)) <= set(found), errors
    if recorded["webhook"] == "STRICT":
        name = recorded["webhook_error"].split('"')[1]
        assert any(finding.path.endswith(name) for finding in errors), errors
