"""Which copies of files make up a DIP, by the METS of Archivematica and of our own engine."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from perdura.packages.mets_read import MetsFile, MetsObject, read_mets
from perdura.steps.dip_copies import Described, choose_copies, described

SAMPLE = Path(__file__).parents[2] / "peers/archivematica/samples/METS-normalised-with-dip.xml.gz"


def file(name: str, made_of: str | None = None, use: str = "original") -> Described:
    return Described(f"data/objects/{name}", use, (name,), (made_of,) if made_of else ())


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("originals", {"a.bmp", "b.txt", "d.doc"}),
        ("access", {"a.jpg", "b.txt", "d.doc"}),
        ("normalised", {"a.tif", "b.txt", "d.pdf"}),
    ],
)
def test_a_policy_takes_one_form_of_each_file(wanted: str, kept: set[str]) -> None:
    files = [
        file("a.bmp"), file("a.tif", "a.bmp", "preservation"), file("a.jpg", "a.bmp", "access"), file("b.txt"),
        file("d.doc"), file("d.odt", "d.doc"), file("d.pdf", "d.odt"),
    ]  # fmt: skip
    assert choose_copies(files, wanted) == {f"data/objects/{name}" for name in kept}


def test_what_was_made_of_a_file_elsewhere_stands_for_itself() -> None:
    files = [file("scan.tif", "a page of paper"), file("loop-1", "loop-2"), file("loop-2", "loop-1")]
    assert choose_copies(files, "access") == {"data/objects/scan.tif"}


def test_archivematica_tells_originals_from_normalised_files() -> None:
    files = described(("data/", part) for part in read_mets([gzip.decompress(SAMPLE.read_bytes())]))
    originals, normalised = choose_copies(files, "originals"), choose_copies(files, "normalised")
    assert len(originals) == len(normalised) == 10
    assert originals - normalised == {"data/objects/d00/file_0008.bmp", "data/objects/d00/file_0006.pdf"}
    assert {path.rpartition(".")[2] for path in normalised - originals} == {"tif", "pdf"}
    assert choose_copies(files, "access") == originals


def test_an_eark_package_tells_originals_from_copies_by_the_identifiers_of_its_premis() -> None:
    base = "data/urn-uuid-1/representations/rep1/"
    parts = [
        (base, MetsFile("Data", "data/a.doc", (), "ID-one")),
        (base, MetsFile("Data", "data/a.pdf", (), "ID-two")),
        (base, MetsObject("", "file", (("UUID", "one"),), "a.doc", 1)),
        (base, MetsObject("", "file", (("UUID", "two"),), "a.pdf", 1, sources=("one",))),
    ]
    files = described(parts)
    assert choose_copies(files, "originals") == {f"{base}data/a.doc"}
    assert choose_copies(files, "normalised") == {f"{base}data/a.pdf"}
