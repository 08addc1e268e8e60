"""Health, for machines."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from perdura.api.models.base import Answer


class HealthAnswer(Answer):
    """Whether the registry can do its work."""

    status: Literal["ok"]
    database: Literal["ok"]
    store: dict[str, bool] | None = Field(description="What the object store was found to do; None: not tried yet.")
    resumable_digests: list[str] = Field(description="Digests that can be continued by another invocation.")
