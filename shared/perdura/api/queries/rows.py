"""The type of a row whose columns are read by name."""

from __future__ import annotations

from perdura.database import AnyRow

__all__ = ["AnyRow"]
