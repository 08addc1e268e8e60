"""What was found of a container's members, put down so that many invocations can read it without looking again.

A zip keeps such a table itself; that of a tar has to be walked for, and objects below a prefix have to be listed, once.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

from perdura.errors import Broken
from perdura.packages.container import Container
from perdura.packages.sources import StoredObject, StoredPrefix
from perdura.packages.tar_reader import TarContainer
from perdura.packages.tar_records import TarMember
from perdura.packages.tree_reader import TreeContainer
from perdura.packages.zip_reader import ZipContainer

if TYPE_CHECKING:
    from perdura.packages.limits import Limits


def survey(container: Container, source: StoredObject | StoredPrefix) -> bytes | None:
    """The table as compressed JSON, or None for a container that cannot be read in parts (a tar.gz)."""
    match container, source:
        case ZipContainer(), _:
            table: dict[str, object] = {"kind": "zip"}
        case TarContainer(), _:
            members = [(m.path, m.size, m.is_directory, m.start) for m in container.members]
            table = {"kind": "tar", "members": members, "plain": container.has_plain_names}
        case TreeContainer(), StoredPrefix():
            table = {"kind": "prefix", "pins": source.pins}
        case _:
            return None
    return zlib.compress(json.dumps(table, ensure_ascii=False).encode(), 1)


def reopen(data: bytes, source: StoredObject | StoredPrefix, limits: Limits) -> Container:
    """The container that was surveyed; raises Broken for a table that is none, and what opening raises."""
    try:
        table = json.loads(zlib.decompress(data))
        kind = table["kind"]
        if kind == "tar" and isinstance(source, StoredObject):
            return TarContainer.surveyed(source, [TarMember(*member) for member in table["members"]], table["plain"])
        if kind == "prefix" and isinstance(source, StoredPrefix):
            source.pin(table["pins"])
            return TreeContainer(source, limits)
        if kind == "zip" and isinstance(source, StoredObject):
            return ZipContainer(source, limits)
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise Broken("the stored survey of a package cannot be read", code="survey-damaged") from error
    raise Broken("the stored survey is of another package", code="survey-damaged")
