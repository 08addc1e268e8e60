"""The type of a row whose columns are read by name."""

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import Row

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row of any columns; the statement that made it is in the same module."""
