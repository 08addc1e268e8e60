"""`locales/perdura.pot`: every text of the pages, to be translated; written by `make documents`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import write_po

NAME = "shared/perdura/web/locales/perdura.pot"
_KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
_PYTHON_KEYWORDS = {"marked": None, "translate": None, "translate_many": (1, 2)}


def catalogue() -> bytes:
    """The template catalogue: each text once, with the files it stands in."""
    found = Catalog(project="Perdura", charset="utf-8")
    for place, message in _messages():
        found.add(message, locations=[(place, 0)])
    written = io.BytesIO()
    write_po(written, found, omit_header=True, sort_output=True, include_lineno=False, width=0)
    return b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n' + written.getvalue()


def _messages() -> Iterator[tuple[str, str | tuple[str, ...]]]:
    folder = Path(str(files("perdura.web")))
    for path in sorted([*folder.glob("templates/*.html"), *folder.glob("*.py")]):
        is_template = path.suffix == ".html"
        with path.open("rb") as file:
            messages = extract(
                "jinja2.ext:babel_extract" if is_template else "python",
                file,
                keywords=_KEYWORDS if is_template else _PYTHON_KEYWORDS,
                options={"trimmed": "true", "newstyle_gettext": "true", "silent": "false"} if is_template else None,
            )
            for _, message, _, _ in messages:
                yield path.name, message


if __name__ == "__main__":
    (Path(sys.argv[1]) / NAME).write_bytes(catalogue())
