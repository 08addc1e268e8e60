"""Health, for machines."""

from __future__ import annotations

from typing import Literal

from perdura.api.models.base import Answer


class HealthAnswer(Answer):
    """Whether the registry can do its work."""

    status: Literal["ok"]
    database: Literal["ok"]
