"""Tools that describe files: their output is kept and linked, their failure is a warning."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest
from lxml import etree

from perdura.clients.characterise import LARGEST_OUTPUT, ToolCharacteriser, characterisers
from perdura.errors import Broken
from perdura.outcome import Outcome, StepState
from perdura.ports import Characterisation
from perdura.settings import Settings
from perdura.steps import preserve_characterise
from perdura.steps.preserve import run
from perdura.steps.preserve_characterise import Characterising
from perdura.storage.memory import MemoryStore
from tests.unit.preserve.fakes import FakeIdentifier, ports
from tests.unit.preserve.submissions import bag, deposit, stored, unpacked, zipped
from tests.unit.preserve.test_standards import schema

WAV = bytes.fromhex(
    "52494646240000005741564566 6d7420100000000100010044ac000088580100020010006461746100000000".replace(" ", "")
)
FILES = {"data/one.txt": b"one\n", "data/sound.wav": WAV}
XLINK = "{http://www.w3.org/1999/xlink}href"


class Counted(ToolCharacteriser):
    """Notes how many seconds it was given; one that does not answer says so at once."""

    def __init__(self, name: str, command: str, suffixes: frozenset[str], *, answers: bool = True) -> None:
        super().__init__(name, command, suffixes)
        self.allowed: list[float] = []
        self._answers = answers

    def characterise(self, path: Path, seconds: float) -> Characterisation:
        self.allowed.append(seconds)
        return super().characterise(path, seconds) if self._answers else Characterisation(None, "", timed_out=True)


def preserved(*tools: ToolCharacteriser, files: Mapping[str, bytes] = FILES) -> tuple[Outcome, dict[str, bytes]]:
    store = MemoryStore()
    archive = deposit(store, zipped(bag(files)))
    outcome = run(archive, replace(ports(store, identifier=FakeIdentifier()), characterisers=tools))
    return outcome, unpacked(stored(store))


@pytest.mark.parametrize("name", ["exiftool", "mediainfo"])
def test_the_output_of_a_real_tool_is_kept_and_linked(name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    (tool,) = characterisers(Settings(characterise=name))
    outcome, files = preserved(tool)
    assert outcome.state is StepState.COMPLETED
    (line,) = files[f"data/metadata/characterisation/{name}.jsonl"].splitlines()
    told = json.loads(line)
    assert told["path"] == "data/sound.wav"
    assert "wav" in json.dumps(told["output"]).lower()
    mets = etree.fromstring(files["data/metadata/METS.xml"])
    schema().assertValid(mets)
    (reference,) = mets.iter("{http://www.loc.gov/METS/}mdRef")
    assert reference.get(XLINK) == f"metadata/characterisation/{name}.jsonl"
    event = next(event for event in outcome.events if event.type == "metadata extraction")
    assert event.agents[1].value == tool.tool
    assert any(character.isdigit() for character in tool.tool)


def test_a_tool_that_fails_is_a_warning_and_no_lost_package() -> None:
    outcome, files = preserved(ToolCharacteriser("broken", "false {file}", frozenset({"txt"})))
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert [(finding.code, finding.path) for finding in outcome.findings] == [
        ("characterisation-failed", "data/one.txt")
    ]
    assert not any("characterisation" in path for path in files)


def test_a_tool_that_hangs_is_given_up_after_two_files_and_the_package_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preserve_characterise, "_SECONDS", 0.2)
    monkeypatch.setattr(preserve_characterise, "_LEAST", 0.2)
    hanging = Counted("hangs", "tail -f {file}", frozenset())
    well = ToolCharacteriser("sums", "sha256sum {file}", frozenset())
    outcome, files = preserved(hanging, well, files={f"data/{number}.txt": b"x" for number in range(8)})
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert len(hanging.allowed) == 2
    assert [finding.message for finding in outcome.findings] == [
        "hangs: given up after 2 files without an answer, 6 not given to it",
        "hangs: data/0.txt: no answer in 0.2 seconds",
        "hangs: data/1.txt: no answer in 0.2 seconds",
    ]
    assert len(files["data/metadata/characterisation/sums.jsonl"].splitlines()) == 8
    told = [event.outcomes[0] for event in outcome.events if event.type == "metadata extraction"]
    assert [each.notes[0] for each in told if each.outcome == "warning"] == [
        "given up after 2 files without an answer, 6 not given to it"
    ]


def test_all_tools_that_hang_lose_no_more_than_a_share_of_the_time() -> None:
    tools = [Counted(f"hangs-{number}", "none {file}", frozenset(), answers=False) for number in range(6)]
    with Characterising(tools, 1000, 540) as characterising:
        for number in range(4):
            assert list(characterising.look(number, "data/a.txt", iter((b"x",)))) == [b"x"]
    assert [tool.allowed for tool in tools] == [[120, 5], [15, 5], *([[5, 5]] * 4)]


def test_a_tool_that_says_too_much_is_ended_with_all_that_it_began(tmp_path: Path) -> None:
    program = tmp_path / "loud"
    program.write_text(f"#!/bin/sh\nsleep 300 &\necho $! > {tmp_path}/child\nexec head -c 200000000 /dev/zero\n")
    program.chmod(0o700)
    tracemalloc.start()
    found = ToolCharacteriser("loud", f"{program} {{file}}", frozenset()).characterise(program, 60)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.output, found.failure) == (None, f"its output is larger than {LARGEST_OUTPUT} bytes")
    assert peak < 4 * LARGEST_OUTPUT
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    end = monotonic() + 10
    while child.exists() and child.read_text().split()[2] != "Z":
        assert monotonic() < end
        sleep(0.05)


def test_any_tool_can_be_configured() -> None:
    lines = "sums [txt]: sha256sum {file}\nnot-installed: no-such-program {file}"
    found = characterisers(Settings(characterise=lines))
    assert [tool.name for tool in found] == ["sums"]
    outcome, files = preserved(*found)
    assert outcome.state is StepState.COMPLETED
    assert b"data/one.txt" in files["data/metadata/characterisation/sums.jsonl"]


@pytest.mark.parametrize("line", ["unknown", "bad name: x {file}", "x: no-placeholder"])
def test_settings_that_cannot_be_understood_are_refused(line: str) -> None:
    with pytest.raises(Broken):
        characterisers(Settings(characterise=f"{line}\n".replace("x: no-placeholder", "x: cat nothing")))


def test_a_shell_is_never_asked(tmp_path: Path) -> None:
    tool = ToolCharacteriser("echo", "echo {file}", frozenset())
    named = tmp_path / "$(touch owned);.txt"
    named.write_bytes(b"x")
    assert "$(touch owned)" in (tool.characterise(named, 10).output or "")
    assert not (tmp_path / "owned").exists()
