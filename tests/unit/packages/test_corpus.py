"""Every case of the corpus gets its verdict and its rules, and the same in every container."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdura.packages.package import Report
from perdura.packages.rules import RULES
from perdura.packages.source import ByteSource, TreeSource
from perdura.packages.sources import LocalTree, StoredObject, StoredPrefix
from perdura.packages.verify import verify
from perdura.storage.memory import MemoryStore
from tests.corpus import generate
from tests.corpus.cases import ARCHIVES, BAGS, ArchiveCase, BagCase
from tests.corpus.tree import CONTAINERS, as_archive, as_directory, as_prefix


def source_of(case: BagCase, container: str, tmp_path: Path) -> ByteSource | TreeSource:
    if container == "directory":
        return LocalTree(as_directory(case.files, tmp_path / "bag"))
    store = MemoryStore()
    if container == "prefix":
        as_prefix(case.files, store)
        return StoredPrefix(store, "bags", "bag/")
    return stored(store, as_archive(case.files, container, case.base), "." + container.replace("deflated", "zip"))


def stored(store: MemoryStore, data: bytes, suffix: str) -> StoredObject:
    info = store.put("bags", f"bag{suffix}", data).info
    return StoredObject(store, info.ref, info.size)


def check(report: Report, verdict: str, expected: frozenset[str]) -> None:
    assert set(report.counts) == expected, report.findings
    assert report.verdict == verdict
    assert all(finding.clause for finding in report.findings)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("case", BAGS, ids=[case.name for case in BAGS])
def test_a_bag_is_judged_alike_in_every_container(case: BagCase, container: str, tmp_path: Path) -> None:
    if container in case.not_in:
        pytest.skip("cannot be put there")
    report = verify(source_of(case, container, tmp_path), limits=case.limits, profile=case.profile)
    check(report, case.verdict, case.expected)
    if report.verdict != "rejected" and case.base:
        assert report.payload_files == sum(path.startswith("data/") and path != "data/" for path in case.files)


@pytest.mark.parametrize("case", ARCHIVES, ids=[case.name for case in ARCHIVES])
def test_an_archive_is_judged_by_the_rules_of_its_kind(case: ArchiveCase) -> None:
    report = verify(stored(MemoryStore(), case.data(), case.suffix), limits=case.limits)
    check(report, case.verdict, case.expected)


def test_every_rule_has_a_case() -> None:
    covered = {code for case in (*BAGS, *ARCHIVES) for code in case.expected}
    covered.add("name-encoding")  # in test_resources: only a file system holds such names
    assert set(RULES) - covered == set(), "rules that no case breaks"


def test_the_corpus_is_written_out_for_other_tools(tmp_path: Path) -> None:
    generate.main(tmp_path)
    expected = json.loads((tmp_path / "expected.json").read_text())
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*") if path.parent != tmp_path}
    assert written == set(expected)
    assert {place.partition("/")[0] for place in expected} == {"valid", "warnings", "invalid", "rejected"}
