"""Which files of an AIP are its payload: what was deposited and what was made of it, without what describes them.

Our own AIPs and Archivematica's have it below `data/objects/`, where Archivematica keeps descriptions and documents of
the submission too (archivematica.md 7.1); E-ARK packages have it in the data of their representations (CSIPSTR).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

OBJECTS = "data/objects/"
_EARK = re.compile(r"data/[^/]+/representations/([^/]+)/data/(.+)", re.DOTALL)
_ARCHIVEMATICA_METS = re.compile(r"data/METS\.[0-9a-f-]{36}\.xml")
_BESIDE_OBJECTS = ("data/objects/metadata/", "data/objects/submissionDocumentation/")


@dataclass(frozen=True, slots=True)
class Layout:
    """What has to be known of all paths of an AIP before one of them can be named.

    `archivematica`: it is laid out as Archivematica does. `several`: an E-ARK package of several representations.
    """

    archivematica: bool
    several: bool

    def name(self, path: str) -> str | None:
        """The name of a payload file: its path without the folders of the layout; None for what is no payload.

        Where an E-ARK package has several representations, names begin with that of theirs.
        """
        if path.startswith(OBJECTS):
            beside = self.archivematica and path.startswith(_BESIDE_OBJECTS)
            return None if beside else path.removeprefix(OBJECTS)
        if match := _EARK.fullmatch(path):
            return f"{match[1]}/{match[2]}" if self.several else match[2]
        return None


def layout(paths: Iterable[str]) -> Layout:
    """How an AIP of these files is laid out; nothing of each is kept."""
    archivematica = False
    representations: set[str] = set()
    for path in paths:
        if path.startswith(OBJECTS):
            continue
        archivematica = archivematica or _ARCHIVEMATICA_METS.fullmatch(path) is not None
        if len(representations) < 2 and (match := _EARK.fullmatch(path)):
            representations.add(match[1])
    return Layout(archivematica, len(representations) > 1)


def names(paths: Iterable[str]) -> dict[str, str]:
    """The payload files among all paths of an AIP, each with its name (`Layout.name`)."""
    every = list(paths)
    laid_out = layout(every)
    return {path: name for path in every if (name := laid_out.name(path)) is not None}
