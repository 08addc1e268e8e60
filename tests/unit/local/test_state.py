from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from perdura.errors import Broken
from perdura.local import state


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> state.Home:
    return state.open_home(tmp_path / "home")


def test_only_the_owner_may_enter(home: state.Home) -> None:
    assert [mode(path) for path in (home.root, home.logs, home.data("postgres"))] == [0o700] * 3


def test_a_home_that_was_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    assert mode(state.open_home(tmp_path / "home").root) == 0o700


def test_secrets_are_private_long_and_stay(home: state.Home) -> None:
    secret = home.secret("s3")
    assert mode(home.root / "secrets" / "s3") == 0o600
    assert len(secret) >= 43
    assert home.secret("s3") == secret == home.known_secret("s3")
    assert home.secret("database") != secret


def test_an_unknown_secret_is_not_made_by_asking(home: state.Home) -> None:
    assert home.known_secret("admin-token") is None


def test_ports_are_remembered_privately(home: state.Home) -> None:
    state.remember(home, {"registry": 12345}, home.root / "run")
    assert mode(home.state_file) == 0o600
    assert state.remembered_ports(home) == {"registry": 12345}


def test_state_of_a_newer_version_is_refused(home: state.Home) -> None:
    home.state_file.write_text(json.dumps({"version": state.VERSION + 1}))
    with pytest.raises(Broken, match="newer Perdura"):
        state.open_home(home.root)


def test_damaged_state_is_refused_with_a_remedy(home: state.Home) -> None:
    home.state_file.write_text("{")
    with pytest.raises(Broken, match="remove it"):
        state.remembered_ports(home)


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Broken, match="cannot be used"):
        state.open_home(tmp_path / "file")


def test_sockets_lie_in_a_short_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "SOCKET_PATH_LIMIT", len(os.fsencode(tmp_path)) + 60)
    home = state.open_home(tmp_path / "short")
    assert state.socket_folder(home) == home.root / "run"


def test_sockets_of_a_long_home_lie_elsewhere_and_stay_there(tmp_path: Path) -> None:
    home = state.open_home(tmp_path / ("long" * 30))
    folder = state.socket_folder(home)
    state.remember(home, {}, folder)
    try:
        assert len(os.fsencode(folder)) + state.LONGEST_SOCKET_NAME <= 107
        assert mode(folder) == 0o700
        assert state.socket_folder(home) == folder
    finally:
        folder.rmdir()


def test_a_lock_is_held_once_and_given_back(home: state.Home) -> None:
    first, second = state.Lock(home), state.Lock(home)
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


def test_a_private_file_is_replaced_as_a_whole(home: state.Home) -> None:
    path = home.root / "file"
    state.write_private(path, "one")
    state.write_private(path, "two")
    assert (path.read_text(), mode(path)) == ("two", 0o600)
    assert not list(home.root.glob(".file*"))
