"""Everyday work by command, against a running registry: what the pages can do, `perdura` can do too."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdura.client import Client, Refused, file_to_send
from tests.shared_data import reference_data
from tests.stack import Stack, bag_tar, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

THEIRS = "perdura-theirs"
RECORD = "5ns0j-g6r27"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack that lets packages be announced from a bucket of its own."""
    with running_stack({"PERDURA_ANNOUNCE_BUCKETS": THEIRS}) as running:
        running.s3.create_bucket(Bucket=THEIRS)
        yield running


@pytest.fixture(scope="module")
def letters(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An Archive that was handed in by command and watched to its end."""
    package = tmp_path_factory.mktemp("package") / "letters.tar"
    package.write_bytes(bag_tar({"letter.txt": b"Dear reader,\n"}))
    done = stack.command("deposit", str(package), "--title", "Letters", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()[1]


def _said(stack: Stack, *arguments: str, status: int = 0) -> str:
    done = stack.command(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def _told(stack: Stack, *arguments: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in _said(stack, *arguments, "--json").splitlines()]


def test_a_deposit_is_listed_shown_and_its_events_are_told(stack: Stack, letters: str) -> None:
    assert letters in [row["id"] for row in _told(stack, "archives", "list", "-q", "letters")]
    assert "Letters" in _said(stack, "archives", "list", "--state", "completed")
    shown = json.loads(_said(stack, "archives", "show", letters, "--json"))
    assert [step["state"] for step in shown["steps"]] == ["completed"] * 4
    kinds = {event["type"] for event in _told(stack, "events", letters)}
    assert {"ingestion", "fixity check"} <= kinds


def test_the_command_and_its_token_may_come_from_elsewhere(stack: Stack, letters: str) -> None:
    address = ("--url", stack.urls["registry"], "--token", stack.token)
    assert letters in _said(stack, "archives", "list", *address)
    refused = stack.command("archives", "list", "--url", stack.urls["registry"], "--token", "perdura_wrong")
    assert refused.returncode == 1
    assert "401" in refused.stderr
    silent = stack.command("archives", "list", "--url", "http://127.0.0.1:9")
    assert (silent.returncode, "Traceback" in silent.stderr) == (2, False)


def test_a_rejected_package_is_watched_to_its_reasons_and_rejected_again_when_it_is_retried(
    stack: Stack, tmp_path: Path
) -> None:
    package = tmp_path / "broken.zip"
    package.write_bytes(b"this is no bag")
    done = stack.command("deposit", str(package), "--watch")
    assert done.returncode == 1
    assert "rejected" in done.stdout
    archive = done.stdout.split()[1]
    again = stack.command("retry", archive, "--watch")
    assert (again.returncode, "rejected" in again.stdout) == (1, True)
    assert stack.archive(archive)["actions"] == []


def test_a_collection_is_made_filled_by_a_job_and_summed_up(stack: Stack, letters: str) -> None:
    collection = _said(stack, "collections", "create", "Correspondence", "--description", "By command").strip()
    assert "1 added" in _said(stack, "collections", "add", collection, letters)
    begun = ("jobs", "begin", "take-out", "--collection", collection, "--filter", f"collection={collection}")
    assert "1 done, 0 failed" in _said(stack, *begun, "--yes", "--watch")
    assert json.loads(_said(stack, "collections", "summary", collection, "--json"))["total"] == 0
    assert _told(stack, "jobs", "list")[0]["act"] == "take-out"
    assert collection in [row["id"] for row in _told(stack, "collections", "list")]


def test_a_harvest_a_schedule_a_recall_and_the_numbers(stack: Stack, letters: str) -> None:
    upstream = stack.urls["upstream"]
    harvested = stack.command("harvest", f"{upstream}/records/{RECORD}", "--watch")
    assert harvested.returncode == 0, harvested.stdout + harvested.stderr
    added = _said(stack, "schedules", "add", "Nightly", "zenodo", "--query", "theses", "--cron", "@daily")
    schedule = added.split()[1]
    assert "Nightly" in _said(stack, "schedules", "list")
    assert "paused" in _said(stack, "schedules", "pause", schedule)
    assert schedule in _said(stack, "schedule", "list")
    assert _said(stack, "recall", letters, "--drill").startswith("step ")
    numbers = json.loads(_said(stack, "stats", "--json"))
    assert numbers["states"]["completed"] >= 2
    assert "archives" in _said(stack, "stats")


def test_the_client_deposits_waits_searches_and_downloads(stack: Stack, tmp_path: Path) -> None:
    package = tmp_path / "client.tar"
    package.write_bytes(bag_tar({"poem.txt": b"Roses\n"}))
    sent: list[int] = []
    with Client(stack.urls["registry"], stack.token) as registry:
        archive = registry.deposit(file_to_send(package), title="A poem", noted=sent.append)
        assert sum(sent) == package.stat().st_size
        assert registry.wait(archive, timeout=120, every=0.2)["state"] == "completed"
        assert [found["id"] for found in registry.archives(q="poem")] == [archive]
        file = next(file for file in registry.files(archive) if str(file["path"]).endswith("poem.txt"))
        with registry.download(file["links"]["content"]) as answer:
            assert answer.read() == b"Roses\n"
        assert registry.deposit(file_to_send(package)) == archive
        with pytest.raises(Refused, match="404") as refused:
            registry.archive("01900000-0000-7000-8000-000000000000")
        assert refused.value.status == 404


def test_the_sips_of_a_cern_oais_platform_go_all_the_way(stack: Stack, tmp_path: Path) -> None:
    """SIPs as bagit-create writes them, one unpacked and one as zip, announced from S3 with what the platform tells."""
    archives = []
    for number, (source, unpacked) in enumerate((("zenodo", True), ("indico", False)), 1):
        zipped = reference_data("sip-samples", "bags", f"{source}.zip")
        with zipfile.ZipFile(zipped) as sip:
            folder = sip.namelist()[0].partition("/")[0]
            if unpacked:
                for name in sip.namelist():
                    stack.s3.put_object(Bucket=THEIRS, Key=f"{source}/{name}", Body=sip.read(name))
            else:
                stack.s3.put_object(Bucket=THEIRS, Key=f"{source}/{folder}.zip", Body=zipped.read_bytes())
        path = f"/eos/sips/{source}/{folder}{'' if unpacked else '.zip'}"
        _, _, recid, _ = folder.split("::")
        archives.append({"id": number, "source": source, "recid": recid, "title": f"From {source}", "state": 3,
                         "restricted": False, "path_to_sip": path, "timestamp": "2024-05-01T00:00:00Z"})  # fmt: skip
    steps = [{"id": 1, "archive": 1, "step_type": {"name": "HARVEST"}, "status": 4, "failure_type": None}]
    dump = {"archives": archives, "steps": steps, "collections": [{"title": "Moved", "archives": [1, 2]}]}
    (tmp_path / "dump.json").write_text(json.dumps(dump))
    said = _said(
        stack, "import-oais", str(tmp_path / "dump.json"), "--origin", "https://oais.example.org", "--bucket", THEIRS,
        "--base", "/eos/sips/", "--watch",
    )  # fmt: skip
    assert "2 done, 0 failed" in said
    moved = next(row for row in _told(stack, "collections", "list") if row["name"] == "Moved")
    members = _told(stack, "archives", "list", "--collection", str(moved["id"]))
    assert len(members) == 2
    for member in members:
        found = stack.finished(str(member["id"]), timeout=180)
        assert found["state"] in {"completed", "completed_with_warnings"}, stack.steps(str(member["id"]))
        assert {package["kind"] for package in found["packages"]} == {"SIP", "AIP"}
        assert found["metadata"]["oais_platform"]["origin"] == "https://oais.example.org"
        files = stack.api.get(f"/archives/{member['id']}/files").raise_for_status().json()["items"]
        assert any("slides.pdf" in file["path"] or "thesis.pdf" in file["path"] for file in files)
