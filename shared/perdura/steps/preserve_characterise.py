"""Characterisation on the way: files that a tool wants are kept on local disk for a moment, its output in the AIP.

A tool that hangs must cost neither the package nor its invocation: it is given up after some files, and all that hang
lose but a share of the time.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from perdura.outcome import Finding
from perdura.packages.aip import AipWriter
from perdura.packages.aip_members import Member
from perdura.ports import Characteriser

FOLDER = "data/metadata/characterisation/"
_FINDINGS = 100
_PATIENCE = 2
"""Files that a tool may give no answer for: then it is given up."""
_SECONDS = 120.0
"""What a tool has for a file, while the share that may be lost is not used up; then it has `_LEAST`."""
_LEAST = 5.0
_SHARE = 0.25
"""Of the time of an invocation, what may be lost to tools that give no answer."""

Chunk = bytes | bytearray | memoryview


@dataclass
class Told:
    """What one tool said: its output as a growing file of JSON lines, the files it looked at, its failures."""

    characteriser: Characteriser
    tool: str
    lines: IO[bytes]
    size: int = 0
    files: list[int] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    unanswered: int = 0
    passed_over: int = 0
    """Files that it was not given any more."""

    @property
    def notes(self) -> list[tuple[str, str | None]]:
        """What went wrong, as (text, path of the file); first that it was given up, if it was."""
        found: list[tuple[str, str | None]] = []
        if self.passed_over:
            given_up = f"given up after {self.unanswered} files without an answer, {self.passed_over} not given to it"
            found.append((given_up, None))
        return found + [(f"{path}: {failure}", path) for path, failure in self.failures]

    @property
    def is_given_up(self) -> bool:
        """Whether it gave no answer so often that it is asked no more."""
        return self.unanswered >= _PATIENCE

    @property
    def path(self) -> str:
        """Where the output lies in the AIP."""
        return f"{FOLDER}{self.characteriser.name}.jsonl"

    def read(self) -> Iterator[bytes]:
        """The output."""
        self.lines.seek(0)
        while data := self.lines.read(1 << 20):
            yield data


class Characterising:
    """Gives each file that somebody wants, and that is not larger than `limit` bytes, to the tools.

    `seconds` is the time of the invocation, of which a share may be lost to tools that give no answer.
    """

    def __init__(self, characterisers: Sequence[Characteriser], limit: int, seconds: float) -> None:
        self._limit, self._to_lose = limit, seconds * _SHARE
        self.told = [
            Told(each, each.tool, tempfile.TemporaryFile(prefix="perdura-characterisation-"))  # noqa: SIM115
            for each in characterisers
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self.told:
            each.lines.close()

    def wants(self, name: str, size: int) -> bool:
        """Whether a file is to be kept for a tool; counts it at those that were given up, so ask once a file."""
        if not 0 < size <= self._limit:
            return False
        wanting = [each for each in self.told if each.characteriser.wants(name)]
        for each in wanting:
            each.passed_over += each.is_given_up
        return not all(each.is_given_up for each in wanting)

    def look(self, number: int, path: str, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Pass the chunks of a file through; when it is whole, let the tools look at it."""
        suffix = Path(path).suffix if Path(path).suffix.isascii() else ""
        with tempfile.NamedTemporaryFile(prefix="perdura-", suffix=suffix[:20]) as file:
            for chunk in chunks:
                file.write(chunk)
                yield chunk
            file.flush()
            for told in self.told:
                if told.characteriser.wants(path.rpartition("/")[2]) and not told.is_given_up:
                    self._ask(told, number, path, Path(file.name))

    def _ask(self, told: Told, number: int, path: str, file: Path) -> None:
        seconds = max(_LEAST, min(_SECONDS, self._to_lose))
        found = told.characteriser.characterise(file, seconds)
        if found.timed_out:
            told.unanswered += 1
            self._to_lose -= seconds
        if found.failure:
            told.failures.append((path, found.failure))
        if found.output is None:
            return
        line = json.dumps({"path": path, "output": found.value(str(file))}, ensure_ascii=False, sort_keys=True)
        data = line.encode() + b"\n"
        told.lines.write(data)
        told.size += len(data)
        told.files.append(number)

    def keep(self, aip: AipWriter) -> list[Member]:
        """Write the outputs into the AIP, one file a tool."""
        return [aip.add(each.path, each.size, each.read())[0] for each in self.told if each.size]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Failures of tools: warnings, never a lost package."""
        return tuple(
            Finding("characterisation-failed", f"{each.tool}: {note}", "warning", path)
            for each in self.told
            for note, path in each.notes
        )[:_FINDINGS]
