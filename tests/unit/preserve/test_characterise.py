"""Tools that describe files: their output is kept and linked, their failure is a warning."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from perdura.clients.characterise import ToolCharacteriser, characterisers
from perdura.errors import Broken
from perdura.outcome import Outcome, StepState
from perdura.settings import Settings
from perdura.steps.preserve import run
from perdura.storage.memory import MemoryStore
from tests.unit.preserve.fakes import FakeIdentifier, ports
from tests.unit.preserve.submissions import bag, deposit, stored, unpacked, zipped
from tests.unit.preserve.test_standards import schema

WAV = bytes.fromhex(
    "52494646240000005741564566 6d7420100000000100010044ac000088580100020010006461746100000000".replace(" ", "")
)
FILES = {"data/one.txt": b"one\n", "data/sound.wav": WAV}
XLINK = "{http://www.w3.org/1999/xlink}href"


def preserved(*tools: ToolCharacteriser) -> tuple[Outcome, dict[str, bytes]]:
    store = MemoryStore()
    archive = deposit(store, zipped(bag(FILES)))
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
    assert "$(touch owned)" in (tool.characterise(named).output or "")
    assert not (tmp_path / "owned").exists()
