"""Options of commands: several of them as one, and what was given by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Option = Callable[[Callable[..., Any]], Callable[..., Any]]


def together(options: Sequence[Option]) -> Option:
    """Several options as one decorator, in the order in which the help shows them."""

    def give(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return give


def given(which: Mapping[str, Any], *, blank: bool = False) -> dict[str, Any]:
    """Those of the options that were given, as members of what the API is sent; with `blank` also empty texts."""
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in which.items()}
    nothing: list[Any] = [None, []] if blank else [None, [], ""]
    return {name: value for name, value in listed.items() if value not in nothing}
