"""An institution may demand a BagIt profile of every SIP, from a folder of its own."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from perdura import settings as settings_module
from perdura.errors import Broken
from perdura.outcome import ArchiveView, Outcome, StepState, StepView
from perdura.packages import profiles
from perdura.ports import Ports
from perdura.settings import Settings
from perdura.steps import ingest
from perdura.storage.memory import MemoryStore
from tests.corpus.tree import as_archive, bag, with_tag_manifest
from tests.unit.preserve.fakes import FixedClock, NoDeadline, NoIntents, derived

OURS = "https://example.org/profile.json"
PROFILE = {
    "BagIt-Profile-Info": {"BagIt-Profile-Identifier": OURS, "Source-Organization": "x", "Version": "1"},
    "Bag-Info": {"Contact-Name": {"required": True}},
    "Accept-BagIt-Version": ["1.0"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ours.json").write_text(json.dumps(PROFILE))
    monkeypatch.setattr(profiles, "settings", lambda: settings_module.Settings(package_profiles=str(tmp_path)))
    profiles._installed.cache_clear()
    return tmp_path


def ingested(info: bytes, required: str | None) -> Outcome:
    store = MemoryStore()
    store.put("perdura-incoming", "d", as_archive(with_tag_manifest(bag(info=info)), "tar"))
    ports = Ports(
        settings=Settings(package_profile=required),
        store=store,
        clock=FixedClock(),
        deadline=NoDeadline(),
        intents=NoIntents(),
        progress=lambda what, done, total: None,
        derived=derived,
    )
    told = {"bucket": "perdura-incoming", "key": "d"}
    return ingest.run(ArchiveView(UUID(int=1), StepView(UUID(int=2), "ingest", 1, told)), ports)


def test_a_required_profile_must_hold(folder: Path) -> None:
    assert ingested(b"Contact-Name: Ada\n", OURS).state is StepState.COMPLETED
    refused = ingested(b"Title: x\n", OURS)
    assert (refused.state, refused.error_code) == (StepState.FAILED, "profile-bag-info-required")


def test_a_bag_may_name_an_installed_profile(folder: Path) -> None:
    named = f"BagIt-Profile-Identifier: {OURS}\n".encode()
    assert ingested(named, None).error_code == "profile-bag-info-required"
    assert ingested(named + b"Contact-Name: Ada\n", None).state is StepState.COMPLETED


def test_a_required_profile_that_is_not_installed_is_our_fault(folder: Path) -> None:
    with pytest.raises(Broken, match="not installed"):
        ingested(b"Title: x\n", "https://example.org/other.json")


def test_a_profile_with_an_unknown_demand_is_not_installed_by_half(folder: Path) -> None:
    (folder / "odd.json").write_text(json.dumps(PROFILE | {"Tag-Files-Weighed": True}))
    profiles._installed.cache_clear()
    with pytest.raises(Broken, match=r"odd.json: not a BagIt profile that can be checked"):
        profiles.installed()


def test_a_folder_of_profiles_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "ours.json").unlink()
    folder.rmdir()
    with pytest.raises(Broken, match=f"{folder}: a profile cannot be read: No such file"):
        ingested(b"Title: x\n", OURS)


def test_a_profile_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "dir.json").mkdir()
    with pytest.raises(Broken, match="cannot be read: Is a directory"):
        ingested(b"Title: x\n", OURS)
