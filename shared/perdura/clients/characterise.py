"""Characterisation by tools that are installed beside us: one process a file.

A process is ended when its time is up, and as soon as it says more than is kept.

The setting `characterise` names the tools, one a line: `exiftool` and `mediainfo` are known, any other is given as
`name: command {file}` with the suffixes it is for in brackets, as `jhove [pdf,tif]: jhove -h json {file}`.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from perdura.clients.processes import output_of
from perdura.errors import Broken
from perdura.ports import Characterisation
from perdura.settings import Settings
from perdura.storage.timed import TimeUp

LARGEST_OUTPUT = 1 << 20
_TO_TELL_ITS_VERSION = 10
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
_KNOWN = {
    "exiftool": (
        "exiftool -json -fast {file}",
        "jpg jpeg tif tiff png gif heic webp dng cr2 nef psd pdf wav mp3 m4a mp4 mov avi",
        "-ver",
    ),
    "mediainfo": (
        "mediainfo --Output=JSON {file}",
        "wav mp3 m4a flac ogg mp4 mov avi mkv mxf mpg mpeg webm",
        "--Version",
    ),
}
_LINE = re.compile(r"(?P<name>[a-z][a-z0-9-]{0,30})\s*(\[(?P<suffixes>[a-z0-9, ]*)\])?\s*(:\s*(?P<command>\S.*))?")


class ToolCharacteriser:
    """One tool. `suffixes` empty means every file."""

    def __init__(self, name: str, command: str, suffixes: frozenset[str], version: str | None = None) -> None:
        self.name = name
        self._command = shlex.split(command)
        self._suffixes = suffixes
        self._version = version
        if "{file}" not in self._command:
            raise Broken(f"the command of {name} does not say where its {{file}} goes", code="characterise-settings")

    @property
    def tool(self) -> str:
        """Name and version, as the tool gives it."""
        if self._version is None:
            return self.name
        said = self._run([self._command[0], self._version], _TO_TELL_ITS_VERSION)
        lines = said.output.split() if said.output else []
        return f"{self.name} {lines[-1]}" if lines else self.name

    def wants(self, name: str) -> bool:
        """Whether a file of that name is for this tool."""
        return not self._suffixes or name.rpartition(".")[2].lower() in self._suffixes

    def characterise(self, path: Path, seconds: float) -> Characterisation:
        """What the tool says of a file in so many seconds; its failure is a message, never an exception."""
        return self._run([part.replace("{file}", str(path)) for part in self._command], seconds)

    def _run(self, command: list[str], seconds: float) -> Characterisation:
        try:
            said, code = output_of(command, _ENVIRONMENT, seconds, LARGEST_OUTPUT)
        except TimeUp:
            return Characterisation(failure=f"no answer in {seconds:g} seconds", timed_out=True)
        except OSError as error:
            return Characterisation(failure=f"it cannot be run: {error.strerror}")
        if code is None:
            return Characterisation(failure=f"its output is larger than {LARGEST_OUTPUT} bytes")
        text = said.decode("utf-8", "replace")
        if code != 0:
            return Characterisation(text or None, f"exit code {code}")
        return Characterisation(text)


def characterisers(settings: Settings) -> tuple[ToolCharacteriser, ...]:
    """The tools of the settings that are installed; raises Broken for a line that cannot be understood."""
    found = []
    for line in filter(None, (line.strip() for line in settings.characterise.splitlines())):
        said = _LINE.fullmatch(line)
        if said is None or (said["command"] is None and said["name"] not in _KNOWN):
            raise Broken(f"no tool for characterisation: {line[:80]}", code="characterise-settings")
        known = _KNOWN.get(said["name"], ("", "", None))
        command = said["command"] or known[0]
        suffixes = said["suffixes"] if said["suffixes"] is not None else ("" if said["command"] else known[1])
        if shutil.which(shlex.split(command)[0]) is None:
            continue
        version = known[2] if said["command"] is None else None
        found.append(ToolCharacteriser(said["name"], command, frozenset(suffixes.replace(",", " ").split()), version))
    return tuple(found)
