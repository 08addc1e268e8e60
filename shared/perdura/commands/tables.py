"""Answers of the API as tables for people, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

Row = Mapping[str, Any]


def size(count: int | None) -> str:
    """Bytes in binary units."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"


def show(rows: Iterable[Row], columns: Sequence[tuple[str, Callable[[Row], object]]], *, as_json: bool) -> int:
    """Print rows as a table, or as one JSON document a line; returns how many there were."""
    listed = list(rows)
    if as_json:
        for row in listed:
            click.echo(json.dumps(row, ensure_ascii=False))
        return len(listed)
    if not listed:
        click.echo("nothing")
        return 0
    cells = [[name for name, _ in columns], *([_plain(read(row)) for _, read in columns] for row in listed)]
    widths = [max(len(line[number]) for line in cells) for number in range(len(columns))]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return len(listed)


def _plain(value: object) -> str:
    """A cell in one line, without anything that a terminal would obey."""
    text = "-" if value is None else str(value)
    return "".join(character if character.isprintable() else " " for character in text)[:80]
