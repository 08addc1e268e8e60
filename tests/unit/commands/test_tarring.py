from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import bagit
import click
import pytest

from perdura.commands import tarring


def unpack(members: list[tarring.Member], into: Path) -> None:
    content = b"".join(tarring.tar_stream(members))
    assert len(content) == tarring.tar_size(members)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(into, filter="data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / ("é" * 60 + ".txt")).write_bytes(b"x" * 1000)
    (folder / "a%b\nc").write_bytes(b"")
    (folder / "z").write_bytes(bytes(512))
    return folder


def test_a_folder_comes_out_as_it_went_in(folder: Path, tmp_path: Path) -> None:
    unpack(tarring.members(folder, "base"), tmp_path)
    for path in folder.rglob("*"):
        copy = tmp_path / "base" / path.relative_to(folder)
        assert path.is_dir() or copy.read_bytes() == path.read_bytes()


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    first = b"".join(tarring.tar_stream(tarring.members(folder, "base")))
    os.utime(folder / "z", (1, 1))
    assert b"".join(tarring.tar_stream(tarring.members(folder, "base"))) == first


def test_a_plain_folder_becomes_a_bag_that_the_reference_tool_accepts(folder: Path, tmp_path: Path) -> None:
    noted: list[int] = []
    (folder / "a%b\nc").unlink()
    unpack(tarring.bag_of(folder, "bag", noted.append), tmp_path)
    bag = bagit.Bag(str(tmp_path / "bag"))
    bag.validate()
    assert bag.info["Payload-Oxum"] == "1512.2"
    assert sum(noted) == 1512


def test_odd_names_are_percent_encoded_in_manifests(folder: Path) -> None:
    manifest = next(
        member for member in tarring.bag_of(folder, "bag", lambda _: None) if member.name == "bag/manifest-sha256.txt"
    )
    assert isinstance(manifest.source, bytes)
    assert b"  data/a%25b%0Ac\n" in manifest.source


def test_a_link_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(click.UsageError, match="no regular file"):
        tarring.members(folder, "base")


def test_a_link_to_a_folder_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to("/etc")
    with pytest.raises(click.UsageError, match="no regular file"):
        tarring.members(folder, "base")


def test_an_empty_folder_is_no_bag(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="holds no file"):
        tarring.bag_of(tmp_path, "bag", lambda _: None)


@pytest.mark.parametrize("length", [999, 1001])
def test_a_file_that_changes_meanwhile_is_noticed(folder: Path, length: int) -> None:
    found = tarring.members(folder, "base")
    next((folder / "deep").iterdir()).write_bytes(b"x" * length)
    with pytest.raises(click.ClickException, match="changed while it was being sent"):
        list(tarring.tar_stream(found))
