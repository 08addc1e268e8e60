"""Preserve: an AIP out of an accepted SIP, made by the engine that its depositor, its operator or nobody chose."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, cast

from perdura.errors import Rejected
from perdura.outcome import ArchiveView, Outcome, PackageKind
from perdura.ports import Ports
from perdura.steps.preserve_outsized import hand_over, has_job, is_outsized, look_again
from perdura.storage.timed import TimeUp


class AipEngine(Protocol):
    """Makes an AIP of an Archive's accepted SIP; every engine is a module of `steps`."""

    def run(self, archive: ArchiveView, ports: Ports) -> Outcome:
        """Begin, or go on; WAITING when somebody else works."""
        ...

    def poll(self, archives: Sequence[ArchiveView], ports: Ports) -> Sequence[tuple[ArchiveView, Outcome]]:
        """Look at those that wait; an engine whose steps never wait gives back nothing."""
        ...


ENGINES = {
    "builtin": "perdura.steps.preserve_builtin",
    "archivematica": "perdura.steps.preserve_archivematica",
    "a3m": "perdura.steps.preserve_a3m",
    "announced": "perdura.steps.preserve_announced",
}
"""Engines by name; imported when used, for most of them are rarely wanted."""


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Make the AIP with the engine that was asked for, or have a Job do it when the package is too large for that.

    Raises Rejected for an engine that does not exist.

    What the step's input says goes before the wish of the Archive, that before the settings. An AIP that was announced
    is taken over, unless an engine was chosen or there is an AIP already.
    """
    wish = (ports.extras or {}).get("wish") or {}
    asked = {**wish, **archive.step.input}
    archive = replace(archive, step=replace(archive.step, input=asked))
    announced = "take_over" in asked and archive.package(PackageKind.AIP) is None
    name = str(asked.get("engine") or ("announced" if announced else ports.settings.preserve_engine))
    chosen = engine(name)
    if name not in {"archivematica", "announced"} and is_outsized(archive, ports):
        return hand_over(archive, ports)
    try:
        return chosen.run(archive, ports)
    except TimeUp:
        if not has_job(ports):
            raise
        return hand_over(archive, ports)


def poll(archives: Sequence[ArchiveView], ports: Ports) -> Sequence[tuple[ArchiveView, Outcome]]:
    """Look again at steps that wait: for a Job, or for an Archivematica."""
    handed = [(archive, outcome) for archive in archives if (outcome := look_again(archive)) is not None]
    known = {archive.step.id for archive, _ in handed}
    others = [archive for archive in archives if archive.step.id not in known]
    return [*handed, *(engine("archivematica").poll(others, ports) if others else ())]


def engine(name: str) -> AipEngine:
    """The engine of that name."""
    if name not in ENGINES:
        raise Rejected(f"There is no engine {name[:40]!r}; there are {', '.join(ENGINES)}.", code="no-such-engine")
    return cast(AipEngine, importlib.import_module(ENGINES[name]))
