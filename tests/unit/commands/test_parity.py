"""What the API can do, a command can: each operation of the OpenAPI document is reached by a command line.

The registry here takes only what the document allows, and answers with documents of its schemas; so a command that
sends something else, or trips over what it is told, fails.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perdura.api import openapi
from perdura.cli import main
from tests.unit.commands.documented_registry import SOME_ID, DocumentedRegistry

COMMANDS = {
    "list_archives": "archives list --state failed --since 2026-01-31 --size-min 1 -q letters",
    "get_facets": "archives facets --source zenodo",
    "export_archives": "archives export --type ndjson --state completed",
    "get_archive": "archives show ID",
    "list_steps": "archives show ID",
    "list_files": "archives files ID --prefix data/",
    "retry_archive": "retry ID",
    "skip_step": "archives skip ID",
    "cancel_archive": "archives cancel ID",
    "run_steps": "archives run ID publish",
    "cancel_step": "archives cancel ID --step ID",
    "recall_archive": "recall ID --drill",
    "archive_again": "archives archive-again ID",
    "check_copies": "check ID --copy object-store",
    "make_pass": "access link ID --file data/a.txt",
    "withdraw": "access withdraw ID --reason spam --yes",
    "publish_again": "access publish ID --after-withdrawal",
    "set_embargo": "access embargo ID 2030-01-01",
    "set_restriction": "access restrict ID --reason Names",
    "notify_again": "access notify ID P",
    "list_events": "events ID",
    "search_events": "events --type ingestion --since 2026-01-31",
    "get_package_content": "fetch ID -o FILE",
    "get_file_content": "fetch ID --file data/a.txt -o FILE",
    "create_deposit": "deposit PACKAGE",
    "complete_deposit": "deposit PACKAGE",
    "list_deposit_parts": "deposit PACKAGE --resume ID",
    "get_deposit": "deposits show ID",
    "list_deposits": "deposits list --waiting",
    "cancel_deposit": "deposits cancel ID",
    "announce_packages": "announce incoming --list LIST",
    "import_oais": "import-oais DUMP --origin https://oais.test --bucket theirs",
    "create_harvest": "harvest zenodo:42 --light",
    "list_harvests": "harvests list --state failed --source zenodo",
    "get_harvest": "harvests show ID",
    "complete_harvest": "harvests complete ID",
    "resolve_harvest": "harvests resolve zenodo:42",
    "list_schedules": "schedules list --state active",
    "create_schedule": "schedules add Theses zenodo --cron @daily --step harvest --overlap 60 --share 0.5 --paused",
    "get_schedule": "schedules show ID",
    "change_schedule": "schedules change ID --cron @weekly --limit 10",
    "retire_schedule": "schedules retire ID",
    "pause_schedule": "schedules pause ID",
    "resume_schedule": "schedules resume ID",
    "list_runs": "schedules runs ID",
    "run_schedule": "schedules run ID",
    "get_run": "schedules show-run ID",
    "list_run_items": "schedules items ID --state failed",
    "pause_run": "schedules pause-run ID",
    "resume_run": "schedules resume-run ID",
    "cancel_run": "schedules cancel-run ID",
    "retry_run": "schedules retry-run ID",
    "list_sources": "sources list",
    "get_source_health": "sources health",
    "search_source": "sources search zenodo letters --sort newest",
    "list_credentials": "credential list",
    "put_credential": "credential set gitlab",
    "delete_credential": "credential remove gitlab",
    "renew_credentials": "credential renew",
    "get_me": "users me",
    "list_my_tokens": "tokens list",
    "create_token": "tokens create nightly --scope read --days 30",
    "revoke_my_token": "tokens revoke ID",
    "list_users": "users list -q ada",
    "get_user": "users show ID",
    "change_user": "users change ID --role archivist --disable",
    "list_tokens_of_user": "tokens list --user ID",
    "revoke_token_of_user": "tokens revoke ID --user ID",
    "list_roles": "users roles",
    "list_grants": "grants list --group theses",
    "create_grant": "grants give --group theses --archive ID",
    "delete_grant": "grants take ID",
    "list_audit": "audit --outcome denied --since 2026-01-31T00:00:00Z",
    "list_settings": "settings",
    "list_collections": "collections list -q letters",
    "create_collection": "collections create Letters --restricted",
    "get_collection": "collections show ID",
    "change_collection": "collections change ID --name Letters --restrict",
    "delete_collection": "collections delete ID --yes",
    "add_members": "collections add ID ID",
    "remove_members": "collections remove ID ID",
    "get_summary": "collections summary ID",
    "plan_job": "jobs begin retry --filter state=failed",
    "create_job": "jobs begin retry --filter state=failed --yes",
    "list_jobs": "jobs list",
    "get_job": "jobs show ID",
    "list_job_items": "jobs items ID --state failed",
    "cancel_job": "jobs cancel ID",
    "list_failures": "failures list",
    "retry_failures": "failures retry archive no-space",
    "list_pipelines": "pipelines list",
    "plan_pipeline": "pipelines plan ingest preserve",
    "get_pipeline": "pipelines show short",
    "put_pipeline": "pipelines put short ingest preserve",
    "delete_pipeline": "pipelines delete short",
    "get_tape": "tape show",
    "get_tape_metrics": "tape metrics",
    "pause_tape": "tape pause maintenance",
    "resume_tape": "tape resume",
    "list_tape_jobs": "tape jobs",
    "cancel_tape_job": "tape cancel ID",
    "prioritise_tape_job": "tape priority ID 5",
    "get_statistics": "stats --days 30",
    "list_subscriptions": "subscriptions list",
    "create_subscription": "subscriptions create email ada@example.org --kind failed --every 60",
    "get_subscription": "subscriptions show ID",
    "change_subscription": "subscriptions change ID --pause",
    "delete_subscription": "subscriptions delete ID",
    "test_subscription": "subscriptions test ID",
    "list_subscriptions_of_user": "subscriptions list --user ID",
    "end_subscription_of_user": "subscriptions delete ID --user ID",
    "get_preservation": "archives preservation ID",
    "set_preservation": "archives preservation ID --engine builtin",
    "list_versions": "versions list ID",
    "create_version": "versions make ID --reason better",
    "choose_version": "versions choose ID ID",
    "compare_versions": "versions diff ID ID ID",
    "list_archivematicas": "archivematica list",
    "change_archivematica": "archivematica drain main --reason upgrade",
    "get_health": "health",
    "get_metrics": "metrics",
}
"""Operation -> a command line that reaches it. ID stands for an id, FILE, LIST, DUMP and PACKAGE for files."""

WITHOUT = {
    "upload_for_version": "sends bytes to an object store, which is no registry; e2e/test_commands.py makes a version",
}
"""Operations that no command line here reaches, and why."""

NO_DOCUMENT = {
    "export_archives",
    "get_package_content",
    "get_file_content",
    "get_tape_metrics",
    "get_metrics",
    "list_deposit_parts",
    *("delete_credential", "delete_grant", "delete_collection", "delete_pipeline", "delete_subscription"),
    *("end_subscription_of_user", "test_subscription", "plan_job"),
}
"""Operations whose command has something else to print than documents, or that answer with none."""

CONTENT = b"Dear reader,\n"


def _operations() -> dict[str, tuple[str, str]]:
    paths = openapi.document()["paths"]
    return {each["operationId"]: (method, path) for path, ways in paths.items() for method, each in ways.items()}


@pytest.fixture(scope="module")
def registry() -> Iterator[DocumentedRegistry]:
    thing = {
        "kind": "AIP", "id": SOME_ID, "bucket": "aips", "key": "k", "path": "data/a.txt", "size": len(CONTENT),
        "checksums": {"sha256": hashlib.sha256(CONTENT).hexdigest()},
    }  # fmt: skip
    package = f"/api/v1/archives/{SOME_ID}/packages/{SOME_ID}"
    whole = {**thing, "links": {"content": f"{package}/content"}}
    file = {**thing, "format": {"puid": None}, "links": {"content": f"{package}/files/data/a.txt"}}
    running = DocumentedRegistry()
    deposit = {"id": SOME_ID, "archive": SOME_ID, "existing": False, "upload": None}
    parts = {"count": 1, "part_size": 1 << 20, "received": 1, "items": [], "next": None}
    running.answers = {
        "get_archive": {"id": SOME_ID, "title": "T", "state": "completed", "pipeline": [], "packages": [whole]},
        "list_files": {"package": SOME_ID, "items": [file], "next": None},
        "get_package_content": CONTENT, "get_file_content": CONTENT, "export_archives": b"id,title\n",
        "get_tape_metrics": b"# HELP\n", "get_metrics": b"# HELP\n",
        "create_deposit": deposit, "list_deposit_parts": parts,
        "get_deposit": {**deposit, "filename": "package.zip", "size": 2, "sha256": None, "state": "awaiting_upload"},
    }  # fmt: skip
    with running.running():
        yield running


def _run(registry: DocumentedRegistry, line: str, folder: Path, *more: str) -> Result:
    for name, text in {"LIST": "a.zip\n", "DUMP": '{"archives": [{"id": 1, "source": "cds", "recid": "1"}]}'}.items():
        (folder / name).write_text(text)
    (folder / "package.zip").write_bytes(b"PK")
    stands = {"ID": SOME_ID, "PACKAGE": str(folder / "package.zip")}
    stands |= {name: str(folder / name) for name in ("FILE", "LIST", "DUMP")}
    words = [stands.get(word, word) for word in line.split()]
    registry.called.clear()
    environment = {"PERDURA_URL": registry.url, "PERDURA_TOKEN": "secret"}
    return CliRunner().invoke(main, ["--home", str(folder), *words, *more], env=environment, input="y\n")


def test_every_operation_has_a_command_or_a_reason() -> None:
    assert set(_operations()) - set(COMMANDS) == set(WITHOUT)
    assert set(COMMANDS) <= set(_operations())


@pytest.mark.parametrize("operation", COMMANDS)
def test_a_command_reaches_the_operation_as_its_document_wants(
    registry: DocumentedRegistry, operation: str, tmp_path: Path
) -> None:
    result = _run(registry, COMMANDS[operation], tmp_path)
    assert result.exit_code == 0, (result.output, registry.called, result.exception)
    assert operation in registry.called
    assert result.output.strip()
    assert "\x1b" not in result.output


@pytest.mark.parametrize("operation", [name for name in COMMANDS if name not in NO_DOCUMENT])
def test_what_a_command_shows_it_also_tells_programs(
    registry: DocumentedRegistry, operation: str, tmp_path: Path
) -> None:
    result = _run(registry, COMMANDS[operation], tmp_path, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    try:
        told = [json.loads(result.stdout)]
    except ValueError:
        told = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(isinstance(document, dict) for document in told)
    assert told


@pytest.mark.parametrize("state", ["completed", "failed"])
@pytest.mark.parametrize("line", ["deposit PACKAGE", "harvest zenodo:42", "retry ID", "versions make ID --reason x"])
def test_what_is_watched_is_one_document_and_the_exit_status_says_how_it_ended(
    registry: DocumentedRegistry, line: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = {**registry.answers["get_archive"], "state": state}
    monkeypatch.setitem(registry.answers, "get_archive", watched)
    result = _run(registry, line, tmp_path, "--watch", "--json")
    assert result.exit_code == (0 if state == "completed" else 1)
    told = json.loads(result.stdout)
    assert (told["id"], told["state"]) == (SOME_ID, state)
    assert told["steps"]


@pytest.mark.parametrize("failed", [0, 1])
@pytest.mark.parametrize("line", ["announce incoming x", "failures retry archive no-space", "jobs show ID"])
def test_a_job_that_is_watched_is_one_document_too(
    registry: DocumentedRegistry, line: str, failed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"id": SOME_ID, "act": "retry", "state": "completed", "total": 2, "done": 2 - failed, "failed": failed}
    for operation in ("get_job", "announce_packages", "retry_failures"):
        monkeypatch.setitem(registry.answers, operation, job)
    result = _run(registry, line, tmp_path, "--watch", "--json")
    assert result.exit_code == failed
    assert json.loads(result.stdout) == job


@pytest.mark.parametrize(
    "line",
    [
        "users change ID", "users change ID --role viewer --no-roles", "collections change ID", "schedules change ID",
        "subscriptions change ID", "announce incoming", "announce incoming a --list LIST", "events ID --type ingestion",
        "events --premis", "jobs begin retry --filter state",
    ],
)  # fmt: skip
def test_a_command_line_that_says_nothing_or_too_much_is_a_usage_error(
    registry: DocumentedRegistry, line: str, tmp_path: Path
) -> None:
    assert _run(registry, line, tmp_path).exit_code == 2
    assert registry.called == []
