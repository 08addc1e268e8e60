from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import bagit
import click
import pytest

from perdura.commands import sending
from perdura.packages.sources import LocalTree
from perdura.packages.verify import verify


def content(upload: sending.Upload) -> bytes:
    data = b"".join(upload.read(0, upload.size))
    assert len(data) == upload.size
    return data


def unpack(upload: sending.Upload, into: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content(upload))) as archive:
        archive.extractall(into, filter="data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / ("é" * 60 + ".txt")).write_bytes(b"x" * 1000)
    (folder / "a%b\nc").write_bytes(b"")
    (folder / "z").write_bytes(bytes(512))
    return folder


def test_a_folder_comes_out_as_it_went_in(folder: Path, tmp_path: Path) -> None:
    unpack(sending.bag_to_send(folder), tmp_path / "out")
    for path in folder.rglob("*"):
        copy = tmp_path / "out" / "base" / path.relative_to(folder)
        assert path.is_dir() or copy.read_bytes() == path.read_bytes()


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    first = content(sending.bag_to_send(folder))
    os.utime(folder / "z", (1, 1))
    assert content(sending.bag_to_send(folder)) == first


@pytest.mark.parametrize("length", [1, 511, 512, 700, 5000])
def test_any_range_can_be_sent_again(folder: Path, length: int) -> None:
    upload = sending.bag_to_send(folder)
    whole = content(upload)
    for offset in range(0, len(whole), 700):
        assert b"".join(upload.read(offset, length)) == whole[offset : offset + length]


def test_a_plain_folder_becomes_a_bag_that_the_reference_tool_accepts(folder: Path, tmp_path: Path) -> None:
    noted: list[int] = []
    (folder / "a%b\nc").unlink()
    unpack(sending.folder_to_send(folder, noted.append), tmp_path / "out")
    bag = bagit.Bag(str(tmp_path / "out" / "base"))
    bag.validate()
    assert bag.info["Payload-Oxum"] == "1512.2"
    assert sum(noted) == 1512


def test_odd_names_are_percent_encoded_in_manifests(folder: Path, tmp_path: Path) -> None:
    unpack(sending.folder_to_send(folder, lambda _: None), tmp_path / "out")
    bag = tmp_path / "out" / "base"
    assert b"  data/a%25b%0Ac\n" in (bag / "manifest-sha256.txt").read_bytes()
    assert verify(LocalTree(bag)).payload_files == 3


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc"])
def test_a_link_is_refused(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    with pytest.raises(click.UsageError, match="link: Only regular files"):
        sending.bag_to_send(folder)
    with pytest.raises(click.UsageError, match="link: Only regular files"):
        sending.folder_to_send(folder, lambda _: None)


def test_an_empty_folder_is_no_bag(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="holds no file"):
        sending.folder_to_send(tmp_path, lambda _: None)


@pytest.mark.parametrize("length", [999, 1001])
def test_a_file_that_changes_meanwhile_is_noticed(folder: Path, length: int) -> None:
    upload = sending.bag_to_send(folder)
    next((folder / "deep").iterdir()).write_bytes(b"x" * length)
    with pytest.raises(click.ClickException, match="changed while it was being sent"):
        content(upload)
