"""The language of a page: English as written in the templates, or a catalogue of translations (gettext `.po` files).

The catalogue to translate is `locales/perdura.pot`; `<language>.po` beside it, or in the folder of the setting
`catalogues`, is a translation. What it lacks is shown in English.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files
from pathlib import Path

from werkzeug.datastructures import LanguageAccept

from perdura.settings import Settings

ENGLISH = "en"
_SPOKEN: ContextVar[tuple[str, NullTranslations]] = ContextVar("language")
_WRITTEN = (ENGLISH, NullTranslations())


@cache
def _known(folder: Path | None) -> Mapping[str, Path]:
    """Every language there is a catalogue for, by its tag (BCP 47)."""
    folders = [Path(str(files("perdura.web") / "locales")), *([folder] if folder is not None else [])]
    return {path.stem.replace("_", "-"): path for each in folders for path in sorted(each.glob("*.po"))}


@cache
def _catalogue(path: Path) -> NullTranslations:
    """A catalogue, compiled in memory. Babel is only loaded where a language other than English is spoken."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = io.BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file))
    compiled.seek(0)
    return GNUTranslations(compiled)


def choose(settings: Settings, accepted: LanguageAccept) -> str:
    """The language for a reader: the one that is set, else the best that their browser asks for (RFC 9110 12.5.4)."""
    known = [ENGLISH, *_known(settings.catalogues)]
    if settings.language is not None:
        return settings.language if settings.language in known else ENGLISH
    return accepted.best_match(known, ENGLISH) or ENGLISH


@contextmanager
def spoken(language: str, settings: Settings) -> Iterator[None]:
    """Have `translate` and the templates speak this language."""
    path = _known(settings.catalogues).get(language)
    token = _SPOKEN.set((language, _catalogue(path)) if path is not None else _WRITTEN)
    try:
        yield
    finally:
        _SPOKEN.reset(token)


def language() -> str:
    """The language spoken now, as `lang` of the page."""
    return _SPOKEN.get(_WRITTEN)[0]


def language_headers() -> dict[str, str]:
    """The headers of a page in the language spoken now."""
    return {"Content-Language": language(), "Vary": "Accept-Language"}


def translate(message: str) -> str:
    """A message in the language spoken now."""
    return _SPOKEN.get(_WRITTEN)[1].gettext(message) if message else ""


def translate_many(singular: str, plural: str, count: int) -> str:
    """A message about `count` things, which may stand in it as `%(count)s`."""
    return _SPOKEN.get(_WRITTEN)[1].ngettext(singular, plural, count)


def marked(message: str) -> str:
    """The message as it is: marks what is translated only when it is shown."""
    return message
