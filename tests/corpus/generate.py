"""Writes the corpus of bags below `tests/corpus/bags/<verdict>/`: `python -m tests.corpus.generate [FOLDER]`.

Every case becomes one archive per container that can hold it; `expected.json` says which rules each one breaks. The
files are for other tools to be tried on; our own tests build the cases in memory.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.corpus.cases import ARCHIVES, BAGS
from tests.corpus.tree import as_archive

_SUFFIXES = {"zip": ".zip", "deflated": "-deflated.zip", "tar": ".tar", "tar.gz": ".tar.gz"}


def main(folder: Path) -> None:
    """Write all cases that need no settings of their own."""
    expected: dict[str, list[str]] = {}
    for case in BAGS:
        for container, suffix in _SUFFIXES.items():
            if container not in case.not_in and case.profile is None:
                place = folder / case.verdict / f"{case.name}{suffix}"
                _write(place, as_archive(case.files, container, case.base))
                expected[str(place.relative_to(folder))] = sorted(case.expected)
    for archive in ARCHIVES:
        place = folder / archive.verdict / f"{archive.name}{archive.suffix}"
        _write(place, archive.data())
        expected[str(place.relative_to(folder))] = sorted(archive.expected)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def _write(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "bags")
