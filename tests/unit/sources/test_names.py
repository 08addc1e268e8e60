"""Paths for the names of upstreams."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdura.sources.names import PATH_BYTES, SEGMENT_BYTES, distinct_paths, safe_path


@pytest.mark.parametrize(
    "name", ["a.txt", "sub/b.txt", "data table.csv", "a:b?.txt", "100% done", ".hidden", "é", "-x"]
)
def test_names_are_kept(name: str) -> None:
    assert safe_path(name) == safe_path(name).__class__(name, None)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("../../etc/passwd", "_/_/etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("a//b/./c", "a/b/c"),
        ("a\\b", "a_b"),
        ("x\r\ny", "x__y"),
        ("end ", "end_"),
        ("", "_"),
        ("/", "_"),
        ("\ud800", "_"),
    ],
)
def test_names_that_are_changed_say_so(name: str, path: str) -> None:
    found = safe_path(name)
    assert found.path == path
    assert found.reason


def test_long_names_keep_their_extension_and_stay_apart() -> None:
    first, second = distinct_paths(["x" * 300 + "1.pdf", "x" * 300 + "2.pdf"])
    assert first.path != second.path
    assert first.path.endswith(".pdf")
    assert len(first.path.encode()) <= SEGMENT_BYTES


@pytest.mark.parametrize(
    "names",
    [
        ["a.txt", "A.TXT", "a.txt"],
        ["é.txt", "e\u0301.txt"],
        ["d", "d/f"],
        ["d/f", "d"],
        ["straße", "STRASSE"],
        ["a", "a_2", "a"],
    ],
)
def test_clashes(names: list[str]) -> None:
    paths = [name.path for name in distinct_paths(names)]
    assert len({unicodedata.normalize("NFC", path).casefold() for path in paths}) == len(names)


@given(st.lists(st.text(min_size=0, max_size=40), max_size=12))
def test_paths_are_always_safe_and_apart(names: list[str]) -> None:
    found = distinct_paths(names)
    folded = {unicodedata.normalize("NFC", unicodedata.normalize("NFC", n.path).casefold()) for n in found}
    assert len(folded) == len(names)
    for name in found:
        parts = name.path.split("/")
        assert all(part not in ("", ".", "..") for part in parts)
        assert not any(ord(char) < 32 or char == "\\" for char in name.path)
        assert name.path == name.path.rstrip()
        assert len(name.path.encode()) <= PATH_BYTES + 8


def test_many_files_of_one_name_are_told_apart_in_little_time() -> None:
    begun = time.process_time()
    paths = [name.path for name in distinct_paths(["a.txt"] * 20_000)]
    assert (paths[0], paths[1], paths[-1]) == ("a.txt", "a_2.txt", "a_20000.txt")
    assert time.process_time() - begun < 5


def test_the_same_plan_gives_the_same_paths() -> None:
    names = ["b", "a", "A", "b"]
    assert distinct_paths(names) == distinct_paths(names)
