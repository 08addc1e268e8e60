"""Which files of an AIP are its payload: what was deposited and what was made of it, without what describes them.

Our own AIPs and Archivematica's have it below `data/objects/`, where Archivematica keeps descriptions and documents of
the submission too (archivematica.md 7.1); E-ARK packages have it in the data of their representations (CSIPSTR).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

OBJECTS = "data/objects/"
_EARK = re.compile(r"data/[^/]+/representations/([^/]+)/data/(.+)", re.DOTALL)
_ARCHIVEMATICA_METS = re.compile(r"data/METS\.[0-9a-f-]{36}\.xml")
_BESIDE_OBJECTS = ("data/objects/metadata/", "data/objects/submissionDocumentation/")


def names(paths: Iterable[str]) -> dict[str, str]:
    """The payload files among all paths of an AIP, each with its name: the path without the folders of the layout.

    Where an E-ARK package has several representations, names begin with that of theirs.
    """
    every = list(paths)
    beside = _BESIDE_OBJECTS if any(_ARCHIVEMATICA_METS.fullmatch(path) for path in every) else ()
    found: dict[str, str] = {}
    represented: dict[str, tuple[str, str]] = {}
    for path in every:
        if path.startswith(OBJECTS):
            if not path.startswith(beside):
                found[path] = path.removeprefix(OBJECTS)
        elif match := _EARK.fullmatch(path):
            represented[path] = (match[1], match[2])
    several = len({representation for representation, _ in represented.values()}) > 1
    for path, (representation, name) in represented.items():
        found[path] = f"{representation}/{name}" if several else name
    return found
