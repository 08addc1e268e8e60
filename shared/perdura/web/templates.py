"""Renders the templates: everything is escaped, and a variable that was forgotten is an error, not an empty place."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from perdura.api.content import VIEWABLE
from perdura.web import formatting, static
from perdura.web.language import language, translate, translate_many


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("perdura.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        bytes=formatting.size,
        when=formatting.when,
        short=formatting.short,
        step=formatting.step_name,
        word=formatting.word,
    )
    environment.globals.update(
        appearance=formatting.appearance,
        duration=formatting.duration,
        language=language,
        static=static.address,
        viewable=VIEWABLE,
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(translate, translate_many, newstyle=True)  # type: ignore[attr-defined]
    return environment


def render(name: str, **context: Any) -> str:
    """The template `name` with these variables.

    Characters that turn the direction of what follows are shown as what they are: no name reads as another. In the
    fields of forms they stay, for those are sent back.
    """
    return _TURNING.sub(_shown, _environment().get_template(name).render(context))


_TURNING = re.compile('value="[^"]*"|<textarea.*?</textarea>|[\u202a-\u202e\u2066-\u2069]', re.DOTALL)
"""Embeddings, overrides and isolates of the Unicode Bidirectional Algorithm (UAX #9, section 2); what a form sends back
as it is stands before them, to be passed over."""


def _shown(found: re.Match[str]) -> str:
    return found[0] if len(found[0]) > 1 else f"[U+{ord(found[0]):04X}]"
