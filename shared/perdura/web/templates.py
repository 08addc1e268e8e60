"""Renders the templates: everything is escaped, and a variable that was forgotten is an error, not an empty place."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from perdura.api.content import VIEWABLE
from perdura.web import formatting, static


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("perdura.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        bytes=formatting.size,
        when=formatting.when,
        short=formatting.short,
        step=formatting.step_name,
    )
    environment.globals.update(
        appearance=formatting.appearance,
        duration=formatting.duration,
        static=static.address,
        viewable=VIEWABLE,
    )
    return environment


def render(name: str, **context: Any) -> str:
    """The template `name` with these variables."""
    return _environment().get_template(name).render(context)
