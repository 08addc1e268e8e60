"""Rows as the statement takes them that adds any number of them: arrays of one length. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from perdura import arrays
from perdura.premis.rows import Row

Packed: TypeAlias = tuple[object, ...]
"""The first fifteen parameters of `premis_append`."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def packed(rows: Sequence[Row]) -> Packed:
    """Rows as arrays, their objects and agents by the number of their row (from 1), and their kinds."""
    objects = [(number, key, bare) for number, each in enumerate(rows, 1) for key, bare in each.keys.items()]
    agents = [(number, key) for number, each in enumerate(rows, 1) for key in each.agents]
    return (
        arrays.uuids([each.id for each in rows]),
        arrays.texts([each.identifier for each in rows]),
        arrays.bigints([each.kind[0] for each in rows]),
        arrays.moments([each.at for each in rows]),
        arrays.texts([each.premis for each in rows]),
        arrays.texts([each.xml for each in rows]),
        arrays.texts([each.sent for each in rows]),
        arrays.texts([each.leaf for each in rows]),
        arrays.texts([each.listed for each in rows]),
        arrays.integers([number for number, _, _ in objects]),
        arrays.texts([key for _, key, _ in objects]),
        arrays.texts([bare for _, _, bare in objects]),
        arrays.integers([number for number, _ in agents]),
        arrays.texts([key for _, key in agents]),
        _encode(kinds(rows)),
    )


def kinds(rows: Sequence[Row]) -> list[Mapping[str, object]]:
    """The kinds of rows, each once, as the functions of the log take them."""
    found = {each.kind[0]: each.kind for each in rows}
    return [{"id": id_, "t": type_, "u": outcomes} for id_, type_, outcomes in found.values()]
