"""Properties: what is written is valid in every container, and no mutation of it stays so."""

from __future__ import annotations

import gzip
import io
import unicodedata
import zipfile
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from perdura.errors import PerduraError
from perdura.packages.make import BagPlan, plan_bag, write_archive
from perdura.packages.manifests import decode_path, encode_path
from perdura.packages.package import Report, Verdict
from perdura.packages.sources import StoredObject, StoredPrefix
from perdura.packages.tar import TarWriter
from perdura.packages.verify import verify
from perdura.packages.zip import ZipWriter
from perdura.storage.memory import MemoryStore
from tests.corpus.tree import as_zip, bag, with_tag_manifest

_CALM = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

_components = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="/\\\0"), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and not (len(name) > 1 and name[1] == ":"))
_paths = st.lists(_components, min_size=1, max_size=3).map("/".join)
_trees = st.dictionaries(_paths, st.binary(max_size=300), min_size=1, max_size=8)


def _conflict_free(tree: dict[str, bytes]) -> bool:
    parents = {"/".join(path.split("/")[:depth]) for path in tree for depth in range(1, path.count("/") + 1)}
    forms = {unicodedata.normalize("NFC", path) for path in tree}
    return not parents & tree.keys() and len(forms) == len(tree)


def _plan(tree: dict[str, bytes]) -> tuple[BagPlan, StoredPrefix]:
    store = MemoryStore()
    for path, data in tree.items():
        store.put("source", f"tree/{path}", data)
    source = StoredPrefix(store, "source", "tree/")
    return plan_bag(source, bagging_date=date(2020, 1, 1)), source


def _written(tree: dict[str, bytes], kind: str) -> bytes:
    plan, source = _plan(tree)
    out = io.BytesIO()
    write_archive(plan, source, TarWriter(out.write) if kind.startswith("tar") else ZipWriter(out.write), "bag")
    return gzip.compress(out.getvalue(), 1, mtime=0) if kind == "tar.gz" else out.getvalue()


def _judge(data: bytes, suffix: str = "") -> Report:
    store = MemoryStore()
    info = store.put("bags", "bag" + suffix, data).info
    return verify(StoredObject(store, info.ref, info.size))


@_CALM
@given(_trees, st.sampled_from(["zip", "tar", "tar.gz"]))
def test_what_we_write_is_accepted(tree: dict[str, bytes], kind: str) -> None:
    assume(_conflict_free(tree))
    report = _judge(_written(tree, kind))
    assert report.verdict in (Verdict.VALID, Verdict.WARNINGS), report.findings
    assert {file.path for file in report.files if file.is_payload} == {f"data/{path}" for path in tree}
    assert all(code.startswith("name-") for code in report.counts)


@_CALM
@given(_trees)
def test_the_report_is_the_same_in_every_container(tree: dict[str, bytes]) -> None:
    assume(_conflict_free(tree))
    reports = [_judge(_written(tree, kind)) for kind in ("zip", "tar", "tar.gz")]
    first = reports[0]
    for report in reports[1:]:
        assert (report.verdict, report.findings, report.counts) == (first.verdict, first.findings, first.counts)
        assert [(f.path, f.size, f.checksums, f.declared) for f in report.files] == [
            (f.path, f.size, f.checksums, f.declared) for f in first.files
        ]


@_CALM
@given(_trees)
def test_the_same_tree_gives_the_same_bytes(tree: dict[str, bytes]) -> None:
    assume(_conflict_free(tree))
    for kind in ("zip", "tar"):
        assert _written(tree, kind) == _written(dict(reversed(tree.items())), kind)


@_CALM
@given(_trees)
def test_others_read_what_we_write(tree: dict[str, bytes]) -> None:
    assume(_conflict_free(tree))
    with zipfile.ZipFile(io.BytesIO(_written(tree, "zip"))) as archive:
        assert archive.testzip() is None
        assert {info.filename for info in archive.infolist()} >= {f"bag/data/{path}" for path in tree}


SOUND = with_tag_manifest(bag())
_SOUND_ZIP = as_zip(SOUND)
_SOUND_TAR = _written({"hello.txt": b"hello\n", "more/numbers": b"1;2;3\n"}, "tar")


@settings(max_examples=400)
@given(st.data())
def test_no_flipped_bit_of_a_zip_passes(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(_SOUND_ZIP) - 1))
    changed = bytearray(_SOUND_ZIP)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    report = _judge(bytes(changed))
    # Times, versions needed and attributes are ignored (C6): only there a change may go unnoticed.
    ignored = _ignored_fields_of_zip(_SOUND_ZIP)
    assert report.verdict is not Verdict.VALID or place in ignored, place


def _ignored_fields_of_zip(archive: bytes) -> set[int]:
    ignored: set[int] = set()
    for signature, fields in (
        (b"PK\x03\x04", [(4, 6), (6, 8), (10, 14)]),
        (b"PK\x01\x02", [(4, 8), (8, 10), (12, 16), (36, 42)]),
    ):
        at = archive.find(signature)
        while at >= 0:
            ignored |= {at + byte for start, stop in fields for byte in range(start, stop)}
            at = archive.find(signature, at + 1)
    return ignored


@settings(max_examples=400)
@given(st.data())
def test_no_flipped_bit_of_a_tar_passes(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(_SOUND_TAR) - 1))
    changed = bytearray(_SOUND_TAR)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    report = _judge(bytes(changed))
    # A digest's hex digits may be in either case (RFC 8493 2.1.3), and nothing covers the tag manifests themselves.
    other_case = bytes(changed).lower() == _SOUND_TAR.lower()
    # The checksum of a header can be padded in several ways that all say the same number.
    padding = 148 <= place % 512 < 156
    insignificant = other_case or padding or _SOUND_TAR[place] == 0
    assert report.verdict is not Verdict.VALID or insignificant, place


@settings(max_examples=300)
@given(st.binary(max_size=2000), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\x00"]))
def test_noise_is_rejected_and_raises_nothing(noise: bytes, start: bytes) -> None:
    assert _judge(start + noise).verdict is Verdict.REJECTED


@settings(max_examples=400)
@given(st.data(), st.sampled_from([_SOUND_ZIP, _SOUND_TAR, gzip.compress(_SOUND_TAR, mtime=0)]))
def test_a_mangled_archive_raises_only_our_own_errors(data: st.DataObject, archive: bytes) -> None:
    mangled = bytearray(archive)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(mangled)))
        stop = data.draw(st.integers(start, min(start + 40, len(mangled))))
        mangled[start:stop] = data.draw(st.binary(max_size=40))
    try:
        report = _judge(bytes(mangled))
    except PerduraError as error:
        raise AssertionError("a fault of the package must be in the report") from error
    assert report.verdict is not Verdict.VALID or bytes(mangled) == archive or report.payload_files == 2


@settings(max_examples=300)
@given(st.sampled_from(["bagit.txt", "bag-info.txt", "manifest-sha256.txt", "fetch.txt"]), st.binary(max_size=400))
def test_noise_in_a_tag_file_raises_nothing(name: str, noise: bytes) -> None:
    report = _judge(as_zip(bag() | {name: noise}))
    assert report.verdict is not Verdict.REJECTED


@given(st.text())
def test_percent_encoding_is_undone_exactly(path: str) -> None:
    assert decode_path(encode_path(path)) == path


def test_a_bag_on_disk_is_like_its_archive() -> None:
    from perdura.packages.make import write_directory
    from perdura.packages.sources import LocalTree

    plan, source = _plan({"a": b"1", "b/c": b"2"})
    with TemporaryDirectory() as folder:
        write_directory(plan, source, Path(folder) / "bag")
        report = verify(LocalTree(Path(folder) / "bag"))
    assert report.verdict is Verdict.VALID
