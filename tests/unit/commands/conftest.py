from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from click.testing import CliRunner, Result

from perdura.cli import main
from tests.unit.commands.fake_registry import FakeRegistry


class Run(Protocol):
    def __call__(self, *arguments: str) -> Result: ...


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    monkeypatch.setattr("perdura.commands.timeline.LOOK_SECONDS", 0.01)
    with FakeRegistry().running() as running:
        yield running


@pytest.fixture
def run(registry: FakeRegistry, tmp_path: Path) -> Run:
    """`perdura ARGUMENTS` against the fake registry."""

    def command(*arguments: str) -> Result:
        environment = {"PERDURA_URL": registry.url, "PERDURA_TOKEN": "secret"}
        return CliRunner().invoke(main, ["--home", str(tmp_path / "home"), *arguments], env=environment)

    return command
