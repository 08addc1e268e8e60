"""What is read of the dump of a CERN OAIS platform, and what is refused as none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perdura.commands.oais import oais_archives
from tests.unit.commands.conftest import Run
from tests.unit.commands.fake_registry import FakeRegistry

ARCHIVES = [{"id": 1, "source": "cds", "recid": "1"}, {"id": 2, "source": "cds", "recid": "2", "title": "Two"}]
STEPS = [
    {"id": 3, "archive": 1, "step_type": {"name": "ARCHIVE"}, "status": 4,
     "output_data": {"artifact": {"artifact_name": "AIP", "artifact_path": "/aips/old"}}},
    {"id": 4, "archive": 1, "step_type": {"name": "ARCHIVE"}, "status": 4,
     "output_data": json.dumps({"artifact": {"artifact_name": "AIP", "artifact_localpath": "/aips/new"}})},
    {"id": 5, "archive": 2, "step_type": {"name": "VALIDATION"}, "status": 4, "output_data": "no JSON"},
]  # fmt: skip
TAG = {"id": 7, "title": "Theses", "archives_count": 2}


@pytest.mark.parametrize(
    "pages",
    [
        lambda items: items,
        lambda items: {"count": len(items), "next": None, "results": items},
        lambda items: [{"results": items[:1]}, {"results": items[1:]}],
    ],
)
def test_a_dump_is_read_whole_or_in_pages(pages: Any) -> None:
    tags = pages([{**TAG, "archives": pages([{"id": 1}, {"id": 2}])}])
    one, two = oais_archives({"archives": pages(ARCHIVES), "steps": pages(STEPS), "collections": tags})
    assert ([step["name"] for step in one["steps"]], one["path_to_aip"]) == (["ARCHIVE", "ARCHIVE"], "/aips/new")
    assert (two["title"], two["path_to_aip"]) == ("Two", None)
    assert (one["collections"], two["collections"]) == (["Theses"], ["Theses"])


@pytest.mark.parametrize(
    ("dump", "told"),
    [
        ('{"archives": [], "collections": [{"id": 7, "title": "Theses"}]}', "tags/7/archives/"),
        ('{"archives": {"detail": "Not found."}}', "neither a list nor a page"),
        ('{"archives": [{"source": "cds"}]}', "'id' is missing"),
        ("[]", "no dump"),
        ("not JSON", "no dump"),
    ],
)
def test_what_is_no_dump_is_refused_before_anything_is_sent(
    run: Run, registry: FakeRegistry, tmp_path: Path, dump: str, told: str
) -> None:
    file = tmp_path / "dump.json"
    file.write_text(dump)
    result = run("import-oais", str(file), "--origin", "https://oais.test", "--bucket", "theirs")
    assert (result.exit_code, registry.requests) == (2, [])
    assert told in result.output
