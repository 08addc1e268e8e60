"""Texts as they are compared: however their accents are written, or without them."""

from __future__ import annotations

import re
import unicodedata

from sqlalchemy import ColumnElement, SQLColumnExpression, func, literal_column

_ACCENTS = re.compile(r"[\u0300-\u036f]+")


def bare(text: str) -> str:
    """A text without accents."""
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text))


def bared(column: SQLColumnExpression[str]) -> ColumnElement[str]:
    """The same of what is in a column."""
    return func.regexp_replace(func.normalize(column, literal_column("NFKD")), _ACCENTS.pattern, "", "g")
