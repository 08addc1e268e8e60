"""Answers of the API as tables for people, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

Row = Mapping[str, Any]
Column = tuple[str, str | Callable[[Row], object]]
"""A heading, and the member of a row that stands below it, or what to make of the row."""

as_json_option = click.option("--json", "as_json", is_flag=True, help="As JSON: one document, or one a line.")


def limit_option(default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--limit` of a listing."""
    return click.option("--limit", type=click.IntRange(1), default=default, show_default=True, help="At most so many.")


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


def counted(number: int, thing: str, *, more: bool = False) -> str:
    """A number of things, `1 archive` or `2 archives`; with `more` it is a lower bound."""
    return f"{number}{' or more' if more else ''} {thing}{'' if number == 1 and not more else 's'}"


def moment(text: str | None) -> str | None:
    """An instant to the second, as the API says it: in UTC."""
    return text[:19] if text else None


def show(rows: Iterable[Row], columns: Sequence[Column], *, as_json: bool) -> int:
    """Print rows as a table, or as one JSON document a line; returns how many there were."""
    if as_json:
        count = 0
        for count, row in enumerate(rows, start=1):  # noqa: B007 - counted
            click.echo(json.dumps(row, ensure_ascii=False))
        return count
    listed = list(rows)
    if not listed:
        click.echo("nothing")
        return 0
    cells = [[name for name, _ in columns], *([_cell(row, read) for _, read in columns] for row in listed)]
    widths = [max(len(line[number]) for line in cells) for number in range(len(columns))]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return len(listed)


def tell(document: Row, *, as_json: bool) -> None:
    """Print one document: as JSON, or a line for each of its members that says something."""
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    told = {name: _words(value) for name, value in document.items() if name != "links" and value not in (None, [], {})}
    width = max((len(name) for name in told), default=0)
    for name, value in told.items():
        click.echo(f"{name.ljust(width)}  {value}")


def said(line: str, answer: Row, *, as_json: bool) -> None:
    """Print that something was done: in a line for people, or as the registry answered for programs."""
    if as_json:
        tell(answer, as_json=True)
    else:
        click.echo(line)


def _cell(row: Row, read: str | Callable[[Row], object]) -> str:
    return plain(_words(row.get(read) if isinstance(read, str) else read(row)))[:80]


def _words(value: object) -> str:
    """A value as text in one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return plain(", ".join(str(item) for item in value)) or "-"
    if isinstance(value, dict | list):
        return plain(json.dumps(value, ensure_ascii=False))
    return "-" if value is None else plain(str(value))


def plain(text: str) -> str:
    """Text in one line, without anything that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)
