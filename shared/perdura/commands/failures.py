"""How a command fails: one line for people, an exit status for scripts, never a stack trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from perdura.errors import UNREACHABLE, PerduraError


class Unusable(click.ClickException):
    """A usage or connection error: exit status 2."""

    exit_code = 2


@contextmanager
def failures() -> Iterator[None]:
    """Turn what we raise on purpose into a message and exit status 1, or 2 where no registry answers."""
    try:
        yield
    except PerduraError as error:
        if error.code == UNREACHABLE:
            raise Unusable(f"{error.message}; does it run? (perdura status)") from error
        raise click.ClickException(error.message) from error
