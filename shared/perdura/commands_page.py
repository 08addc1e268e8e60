"""`docs/commands.md`: every command with its arguments and options, read from the commands by `make documents`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from perdura.cli import main as perdura

_INTRODUCTION = """# Commands

<!-- Generated from the commands by `make documents`; do not edit. -->

Commands marked "over the API" speak to the [REST API](api.md): of the registry that their options `--url` and `--token`
name, or `PERDURA_URL` and `PERDURA_TOKEN`, else of the local stack. With `--json` they print what the API told, one
document a line where there are several. Exit status: 0 done; 1 refused, failed, or not as asked for (`--watch`); 2 a
wrong command line, or no registry that answers. What was typed wrong is named; no stack trace is shown.

Shells complete commands, options and choices: `eval "$(perdura completion bash)"`, or `zsh`, or `fish`.

Every operation of the API is reached by a command; `tests/unit/commands/test_parity.py` says which by which.
"""


def page() -> str:
    """The page."""
    context = click.Context(perdura, info_name="perdura")
    return _INTRODUCTION + "".join(_sections(perdura, context, 2)).rstrip() + "\n"


def _sections(group: click.Group, context: click.Context, depth: int) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield f"\n{'#' * depth} `{inner.command_path}`\n\n{_help(command)}\n"
        if not isinstance(command, click.Group):
            yield from _parameters(command, inner)
        else:
            yield from _sections(command, inner, depth + 1)


def _help(command: click.Command) -> str:
    paragraphs = (command.help or "").replace("\b\n", "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _parameters(command: click.Command, context: click.Context) -> Iterator[str]:
    pieces = " ".join(command.collect_usage_pieces(context))
    over = ", over the API" if any("--url" in parameter.opts for parameter in command.params) else ""
    yield f"\n`{context.command_path} {pieces}`{over}\n"
    rows = [row for row in map(_row, command.params) if row]
    if rows:
        yield "\n| option | |\n|---|---|\n" + "".join(rows)


def _row(parameter: click.Parameter) -> str:
    if not isinstance(parameter, click.Option) or parameter.hidden or {"--url", "--token"} & set(parameter.opts):
        return ""
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    told = [parameter.help or ""]
    if isinstance(parameter.type, click.Choice):
        told.append("One of " + ", ".join(f"`{choice}`" for choice in parameter.type.choices) + ".")
    if parameter.required:
        told.append("Required.")
    if (default := _default(parameter)) is not None:
        told.append(f"Default: {default}.")
    words = " ".join(part for part in told if part).replace("|", "\\|")
    return f"| {names} | {words} |\n"


def _default(parameter: click.Option) -> str | None:
    value: Any = parameter.default
    shown = parameter.show_default and not parameter.is_flag and isinstance(value, str | int | float)
    return f"`{value}`" if shown else None


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    (root / "docs/commands.md").write_text(page(), encoding="utf-8")
