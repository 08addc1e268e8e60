"""What the installation holds and does, in numbers."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from perdura.api.models.base import Answer, Request


class StatisticsQuery(Request):
    """The period that is looked at; holdings are always those of now."""

    days: int = Field(90, ge=1, le=3660, description="Days up to today (UTC).")


class Volume(Answer):
    """A number of things and their bytes."""

    name: str
    count: int
    bytes: int


class FormatVolume(Answer):
    """Files of one format."""

    format: str = Field(description="PRONOM unique identifier.")
    name: str
    files: int
    bytes: int
    archives: int = Field(description="Archives that hold such files.")


class Throughput(Answer):
    """What happened on one day, or in the week or month that begins with it."""

    day: date
    archives: int = Field(description="Archives that were begun.")
    completed: int
    failed: int = Field(description="Archives that failed or were rejected.")
    bytes: int = Field(description="Bytes of AIPs that were made.")


class StepStatistics(Answer):
    """Runs of one step that ended within the period."""

    name: str
    runs: int
    failed: int
    mean_seconds: float
    median_seconds: float = Field(description="Upper bound: a power of two.")
    slowest_twentieth_seconds: float = Field(description="95 % took no longer. Upper bound: a power of two.")


class FailureStatistics(Answer):
    """Failures of one step for one cause within the period."""

    step: str
    code: str
    count: int


class StatisticsAnswer(Answer):
    """What the installation holds, and what it did in a period; for a caller, as far as they may see its Archives."""

    whole: bool = Field(
        description="False for callers from whom restricted Archives may be hidden: all numbers are then of the "
        "Archives that they may see; of restricted ones charts count the newest 200."
    )
    since: date
    until: date
    unit: str = Field(description="day, week or month: what one entry of `throughput` sums up.")
    archives: int
    bytes: int
    states: dict[str, int]
    sources: list[Volume]
    packages: list[Volume]
    formats: list[FormatVolume]
    throughput: list[Throughput]
    steps: list[StepStatistics]
    failures: list[FailureStatistics]
