"""Any tree becomes a valid bag in every container, and no single change of it stays valid in any."""

from __future__ import annotations

import string
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdura.packages.make import plan_bag
from perdura.packages.package import Report, Verdict
from perdura.packages.sources import LocalTree, StoredObject, StoredPrefix
from perdura.packages.verify import verify
from perdura.storage.memory import MemoryStore
from tests.corpus.tree import CONTAINERS, Files, as_archive, as_directory, as_prefix

_CALM = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
# Names that no rule warns about, so that "valid" is the only right verdict.
_component = st.text(string.ascii_lowercase + string.digits + "äßñ-_", min_size=1, max_size=12).filter(
    lambda name: name not in {"con", "prn", "aux", "nul"} and name[:3] not in {"com", "lpt"}
)
_trees = st.dictionaries(
    st.lists(_component, min_size=1, max_size=3).map("/".join),
    st.binary(min_size=1, max_size=200),
    min_size=2,
    max_size=6,
).filter(lambda tree: not any(other.startswith(path + "/") for path in tree for other in tree))


def bag_of(tree: Files) -> Files:
    """The bag that our own writer makes of a tree."""
    store = MemoryStore()
    for path, data in tree.items():
        store.put("source", f"tree/{path}", data)
    plan = plan_bag(StoredPrefix(store, "source", "tree/"), bagging_date=date(2020, 1, 1))
    return dict(plan.tag_files) | {planned.path: tree[planned.source_path] for planned in plan.payload}


def judged(files: Files, container: str) -> Report:
    if container == "directory":
        with TemporaryDirectory() as folder:
            return verify(LocalTree(as_directory(files, Path(folder) / "bag")))
    store = MemoryStore()
    if container == "prefix":
        as_prefix(files, store)
        return verify(StoredPrefix(store, "bags", "bag/"))
    info = store.put("bags", "bag", as_archive(files, container)).info
    return verify(StoredObject(store, info.ref, info.size))


@pytest.mark.parametrize("container", CONTAINERS)
@_CALM
@given(tree=_trees)
def test_any_tree_is_a_valid_bag(container: str, tree: Files) -> None:
    report = judged(bag_of(tree), container)
    assert report.verdict is Verdict.VALID, report.findings


Mutation = Callable[[Files, st.DataObject], Files]


def _flip(files: Files, path: str, data: st.DataObject) -> Files:
    content = bytearray(files[path])
    place = data.draw(st.integers(0, len(content) - 1), label="byte")
    content[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    return files | {path: bytes(content)}


def _payload(files: Files, data: st.DataObject) -> str:
    return data.draw(st.sampled_from(sorted(path for path in files if path.startswith("data/"))), label="file")


def _tag(files: Files, data: st.DataObject) -> str:
    covered = [path for path in files if not path.startswith(("data/", "tagmanifest-"))]
    return data.draw(st.sampled_from(sorted(covered)), label="tag file")


def _without(files: Files, path: str) -> Files:
    return {name: content for name, content in files.items() if name != path}


def _swapped(files: Files, data: st.DataObject) -> Files:
    first, second = sorted(path for path in files if path.startswith("data/"))[:2]
    if files[first] == files[second]:
        return files | {first: files[first] + b"!"}
    return files | {first: files[second], second: files[first]}


def _line_lost(files: Files, data: st.DataObject) -> Files:
    path = data.draw(st.sampled_from(sorted(path for path in files if "manifest-" in path)), label="manifest")
    lines = files[path].splitlines(keepends=True)
    del lines[data.draw(st.integers(0, len(lines) - 1), label="line")]
    return files | {path: b"".join(lines)}


MUTATIONS: dict[str, Mutation] = {
    "a bit of a payload file flipped": lambda files, data: _flip(files, _payload(files, data), data),
    "a payload file cut": lambda files, data: files | {(path := _payload(files, data)): files[path][:-1]},
    "a payload file grown": lambda files, data: files | {(path := _payload(files, data)): files[path] + b"\0"},
    "a payload file lost": lambda files, data: _without(files, _payload(files, data)),
    "a payload file renamed": lambda files, data: (
        _without(files, path := _payload(files, data)) | {path + "x": files[path]}
    ),
    "a payload file added": lambda files, data: files | {"data/zz-added": b"new"},
    "two payload files swapped": _swapped,
    "a bit of a tag file flipped": lambda files, data: _flip(files, _tag(files, data), data),
    "a tag file lost": lambda files, data: _without(files, _tag(files, data)),
    "a tag file added": lambda files, data: files | {"zz-notes.txt": b"new"},
    "a tag manifest lost": lambda files, data: _without(files, "tagmanifest-sha512.txt"),
    "a line of a manifest lost": _line_lost,
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("mutation", MUTATIONS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(tree=_trees, data=st.data())
def test_no_single_change_stays_valid(mutation: str, container: str, tree: Files, data: st.DataObject) -> None:
    files = bag_of(tree)
    changed = MUTATIONS[mutation](files, data)
    assert changed != files
    assert judged(changed, container).verdict is not Verdict.VALID
