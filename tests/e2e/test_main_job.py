"""The main job, from outside: a deposit, an upload and a harvest travel all the way."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config
from lxml import etree

from tests.shared_data import reference_data
from tests.stack import Stack, bag_tar

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

FILES = {"letters/first.txt": b"Dear reader,\n", "photo.bin": bytes(range(256)) * 40}
STEPS = ["ingest", "preserve", "archive", "publish"]


def zip_of(tar: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(tar)) as members, zipfile.ZipFile(buffer, "w") as archive:
        for member in members:
            file = members.extractfile(member)
            if file is not None:
                archive.writestr(member.name, file.read())
    return buffer.getvalue()


def tar_gz_of(tar: bytes) -> bytes:
    import gzip

    return gzip.compress(tar)


@pytest.fixture(scope="module")
def preserved(stack: Stack) -> str:
    """An Archive that went all the way."""
    archive = stack.deposit(bag_tar(FILES, bag_info={"External-Description": "Letters"}), title="Letters of 1871")
    assert stack.finished(archive)["state"] == "completed", stack.steps(archive)
    return archive


@pytest.mark.parametrize(("container", "convert"), [("tar", bytes), ("zip", zip_of), ("tar.gz", tar_gz_of)])
def test_every_container_is_preserved(stack: Stack, container: str, convert: Callable[[bytes], bytes]) -> None:
    archive = stack.deposit(convert(bag_tar({"a.txt": container.encode()})), f"bag.{container}")
    assert stack.finished(archive)["state"] == "completed", stack.steps(archive)
    assert [step["name"] for step in stack.steps(archive)] == STEPS


def test_an_upload_to_the_drop_zone_is_ingested_by_itself(stack: Stack) -> None:
    from perdura.local.state import open_home

    client = boto3.client(
        "s3",
        endpoint_url=stack.urls["s3"],
        aws_access_key_id="perdura",
        aws_secret_access_key=open_home(stack.home).secret("s3"),
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.put_object(Bucket="perdura-incoming", Key="from-the-lab/b.tar", Body=bag_tar({"x.txt": b"lab"}))
    client.close()

    def found() -> str | None:
        items = stack.api.get("/archives").json()["items"]
        return next((str(item["id"]) for item in items if item["title"] == "b.tar"), None)

    archive = stack.until(found, 60)
    assert stack.finished(archive)["state"] == "completed", stack.steps(archive)


def test_a_record_is_harvested_from_a_url(stack: Stack) -> None:
    done = stack.command("harvest", f"{stack.urls['upstream']}/records/3kf7w-x2p61", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr
    archive = done.stdout.split()[1]
    document = stack.archive(archive)
    assert document["recid"] == "3kf7w-x2p61"
    assert "Étretat" in document["title"]
    assert [step["name"] for step in stack.steps(archive)] == ["harvest", *STEPS]


def test_the_command_deposits_a_folder(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("folder")
    refused = stack.command("deposit", str(tmp_path))
    assert refused.returncode == 2
    assert "--bag" in refused.stderr
    done = stack.command("deposit", str(tmp_path), "--bag", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "completed" in done.stdout


def test_every_copy_is_known_and_verified(stack: Stack, preserved: str) -> None:
    document = stack.archive(preserved)
    assert {copy["location"] for copy in document["copies"]} == {"object-store", "tape"}
    assert all(copy["verified"] for copy in document["copies"])
    aip = next(package for package in document["packages"] if package["kind"] == "AIP")
    assert {"sha256", "sha512", "adler32"} <= set(aip["checksums"])


def test_the_log_has_every_act(stack: Stack, preserved: str) -> None:
    types = {
        event["type"].rpartition("/")[2] for event in stack.api.get(f"/archives/{preserved}/events").json()["items"]
    }
    assert {
        "validation", "fixity check", "ingestion", "virus check", "creation", "replication", "dissemination",
    } <= types  # fmt: skip


def test_the_log_is_valid_premis(stack: Stack, preserved: str) -> None:
    answer = stack.api.get(f"/archives/{preserved}/events", params={"format": "premis"})
    document = etree.fromstring(answer.content)
    schema = etree.XMLSchema(etree.parse(str(reference_data("premis", "xsd", "premis-v3-0.xsd"))))
    schema.assertValid(document)


def test_files_are_listed_and_served_out_of_the_aip(stack: Stack, preserved: str) -> None:
    page = stack.archive(preserved)["publication"]["url"]
    landing = httpx.get(page)
    assert landing.status_code == 200
    assert "Letters of 1871" in landing.text
    items = stack.api.get(f"/archives/{preserved}/files").json()["items"]
    by_name = {item["path"].rpartition("/")[2]: item for item in items}
    whole = httpx.get(f"{page}/files/{by_name['photo.bin']['path'].removeprefix('data/')}")
    if whole.status_code == 404:
        whole = httpx.get(f"{page}/files/{by_name['photo.bin']['path']}")
    assert whole.content == FILES["photo.bin"]
    part = httpx.get(str(whole.url), headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, FILES["photo.bin"][10:20])


def test_the_aip_needs_nothing_of_ours(stack: Stack, preserved: str, tmp_path: Path) -> None:
    fetched = stack.command("fetch", preserved, "-o", str(tmp_path / "aip.tar"))
    assert fetched.returncode == 0, fetched.stderr
    subprocess.run(["tar", "-xf", "aip.tar"], cwd=tmp_path, check=True)
    (bag,) = (path.parent for path in tmp_path.glob("*/bagit.txt"))
    subprocess.run(["sha512sum", "--check", "--quiet", "manifest-sha512.txt"], cwd=bag, check=True)
    subprocess.run([sys.executable, "-m", "bagit", "--validate", str(bag)], check=True, capture_output=True)


@pytest.mark.parametrize("wanted", [{}, {"drill": True}, {"file": "photo.bin"}], ids=["whole", "drill", "one file"])
def test_it_comes_back_from_tape(stack: Stack, preserved: str, wanted: dict[str, object]) -> None:
    if "file" in wanted:
        items = stack.api.get(f"/archives/{preserved}/files").json()["items"]
        wanted = {"file": next(item["path"] for item in items if item["path"].endswith("photo.bin"))}
    step = stack.api.post(f"/archives/{preserved}/recalls", json=wanted).json()["step"]

    def done() -> dict[str, object] | None:
        found = next(each for each in stack.steps(preserved) if each["id"] == step)
        return found if found["finished"] else None

    recalled = stack.until(done, 60)
    assert recalled["state"] == "completed", recalled
    assert stack.archive(preserved)["state"] == "completed"


def test_the_api_describes_itself(stack: Stack) -> None:
    document = httpx.get(f"{stack.urls['registry']}/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/archives" in " ".join(document["paths"])


def test_the_api_needs_a_token(stack: Stack) -> None:
    answer = httpx.get(f"{stack.urls['registry']}/api/v1/archives")
    assert answer.status_code == 401
