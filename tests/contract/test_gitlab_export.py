"""A GitLab project's export, put by GitLab straight into our bucket; no secret of ours or theirs is left anywhere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from perdura.outcome import Outcome, StepState
from perdura.settings import Settings
from perdura.sources import resolve
from perdura.steps import harvest
from perdura.storage.memory import MemoryStore
from perdura.storage.s3 import S3Store
from tests.unit.harvest.surroundings import Harvesting
from tests.upstreams.gitlab import GitLab, put
from tests.upstreams.server import Upstream

TOKEN = "glpat-very-secret-token"
EXPORT = b"\x1f\x8b an export " * 50_000
FILES = {"a.txt": b"alpha", "b.txt": b"beta"}
GIVEN = {"source": "lab", "recid": "105"}
PLACE = "sip/data/content/repository_metadata/proj_export.tar.gz"


@pytest.fixture
def settings(upstream: Upstream, tmp_path: Path) -> Settings:
    configured = tmp_path / "sources.toml"
    configured.write_text(
        f'[[source]]\nid = "lab"\nname = "Lab"\nprotocol = "gitlab"\nauth = "bearer"\nbase_url = "{upstream.base}"\n'
        "requests_per_minute = 6000\nburst = 1000\n"
    )
    return Settings(
        allow_loopback_upstreams=True, harvest_profiles=str(configured), s3_public_endpoint="http://127.0.0.1:1"
    )


@pytest.fixture
def world(settings: Settings) -> Harvesting:
    return Harvesting(settings=settings, extras={"credential": lambda _: TOKEN})


def into(store: MemoryStore) -> Any:
    """An upload into the store in memory, which answers no address itself."""

    def upload(url: str, headers: Mapping[str, str], body: bytes) -> int:
        parts = urlsplit(url)
        assert f"type={headers['Content-Type']}" in parts.query
        store.put(parts.netloc, parts.path.lstrip("/"), body)
        return 200

    return upload


def polled(world: Harvesting, given: Mapping[str, Any] = GIVEN, most: int = 12) -> Outcome:
    """Run the step as often as it waits."""
    for _ in range(most):
        outcome = harvest.run(world.archive(given), world.ports())
        if outcome.state is not StepState.WAITING:
            return outcome
        assert outcome.poll_at is not None
    raise AssertionError("the export never came")


def test_gitlab_puts_the_export_into_our_bucket_and_no_function_downloads_it(
    upstream: Upstream, world: Harvesting
) -> None:
    lab = GitLab(upstream, FILES, EXPORT, into(world.store))
    outcome = polled(world)
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS, outcome.message
    assert world.read(PLACE) == EXPORT
    assert world.read("sip/data/content/repository_files/a.txt") == b"alpha"
    assert len(lab.asked) == 1
    assert lab.asked[0]["upload[http_method]"] == "PUT"
    assert not any("download" in path for path in upstream.paths())


@pytest.mark.stack
def test_a_real_store_takes_it_under_a_signature_of_its_media_type(
    upstream: Upstream, settings: Settings, seaweedfs: Settings
) -> None:
    endpoint = seaweedfs.s3_public_endpoint or seaweedfs.s3_endpoint
    real = seaweedfs.model_copy(
        update={
            "harvest_profiles": settings.harvest_profiles,
            "allow_loopback_upstreams": True,
            "s3_public_endpoint": endpoint,
        }
    )
    store = S3Store(real)
    world = Harvesting(settings=real, store=store, extras={"credential": lambda _: TOKEN})  # type: ignore[arg-type]
    lab = GitLab(upstream, FILES, EXPORT)
    try:
        outcome = polled(world)
        assert outcome.state is StepState.COMPLETED_WITH_WARNINGS, outcome.message
        assert lab.uploaded == [200]
        assert world.read(PLACE) == EXPORT
        assert put(lab.asked[0]["upload[url]"], {"Content-Type": "text/html"}, b"<html>") == 403
        other = lab.asked[0]["upload[url]"].replace("export.tar.gz", "other.tar.gz")
        assert put(other, {"Content-Type": "application/gzip"}, EXPORT) == 403
    finally:
        for key in world.listing():
            info = store.head(real.bucket_sips, f"{world.archive({}).id}/{key}")
            store.delete(info.ref)
        store.close()


def test_neither_the_token_nor_the_signed_address_is_kept_anywhere(
    upstream: Upstream, world: Harvesting, caplog: pytest.LogCaptureFixture
) -> None:
    lab = GitLab(upstream, FILES, EXPORT, into(world.store))
    outcome = polled(world)
    signed = lab.asked[0]["upload[url]"]
    stored = b"".join(world.read(key) for key in world.listing())
    for secret in (TOKEN, signed, "glrt-secret-of-the-runners"):
        assert secret.encode() not in stored
        assert secret not in repr(outcome)
        assert secret not in caplog.text
        assert not any(secret in path for path in upstream.paths())
    assert b"s3://" not in world.read("sip/data/meta/plan.json")
    assert all(seen.headers["authorization"] == f"Bearer {TOKEN}" for seen in upstream.seen)


def test_no_token_reaches_a_command_line_or_the_disk(
    upstream: Upstream, world: Harvesting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **_: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "execve", refuse)
    GitLab(upstream, FILES, EXPORT, into(world.store))
    assert polled(world).state is StepState.COMPLETED_WITH_WARNINGS


def test_an_export_of_unknown_age_is_made_anew(upstream: Upstream, world: Harvesting) -> None:
    lab = GitLab(upstream, FILES, EXPORT, into(world.store), status="finished")
    polled(world)
    assert len(lab.asked) == 1
    assert world.read(PLACE) == EXPORT


def test_an_upload_that_does_not_arrive_is_asked_for_again_and_then_downloaded(
    upstream: Upstream, world: Harvesting
) -> None:
    lab = GitLab(upstream, FILES, EXPORT, lambda *_: 403)
    outcome = polled(world)
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS, outcome.message
    assert len(lab.uploaded) == 2
    assert world.read(PLACE) == EXPORT
    assert any("export/download" in path for path in upstream.paths())


def test_where_gitlab_cannot_reach_our_store_the_export_is_downloaded(
    upstream: Upstream, world: Harvesting, settings: Settings
) -> None:
    world.settings = settings.model_copy(update={"s3_public_endpoint": None, "s3_endpoint": "http://127.0.0.1:1"})
    lab = GitLab(upstream, FILES, EXPORT)
    assert polled(world).state is StepState.COMPLETED_WITH_WARNINGS
    assert lab.asked == [{}]
    assert world.read(PLACE) == EXPORT


def test_an_export_is_not_a_change_of_the_project(upstream: Upstream, world: Harvesting) -> None:
    lab = GitLab(upstream, FILES, EXPORT, into(world.store))
    first = polled(world)
    again = Harvesting(settings=world.settings, extras=world.extras)
    lab.export, lab.upload = EXPORT + b"made later", into(again.store)
    outcome = polled(again, {**GIVEN, "known": (first.output or {})["fingerprint"]})
    assert (outcome.state, outcome.error_code) == (StepState.CANCELLED, "unchanged")


def test_empty_files_of_a_project_are_files(upstream: Upstream, world: Harvesting) -> None:
    GitLab(upstream, {"__init__.py": b"", "a.txt": b"alpha"}, EXPORT, into(world.store))
    assert polled(world).state is StepState.COMPLETED_WITH_WARNINGS
    assert world.read("sip/data/content/repository_files/__init__.py") == b""


def test_a_look_at_a_project_asks_for_no_export(upstream: Upstream, settings: Settings) -> None:
    lab = GitLab(upstream, FILES, EXPORT)
    plan = resolve.preview("lab:105", settings)
    assert [file.key for file in plan.files] == ["repository_files/a.txt", "repository_files/b.txt"]
    assert not lab.asked
