"""Tape is configured by our names or by those of the platform this one takes over from."""

from __future__ import annotations

import pytest

from perdura.settings import Settings

NAMES = {
    "FTS_INSTANCE": ("tape_fts_url", "https://fts.example.org:8446"),
    "FTS_STATUS_INSTANCE": ("tape_status_url", "https://fts.example.org:8449"),
    "FTS_GRID_CERT": ("tape_certificate", "/secrets/robot.pem"),
    "FTS_GRID_CERT_KEY": ("tape_key", "/secrets/robot.key"),
    "CTA_BASE_PATH": ("tape_base_path", "https://eoscta.example.org:8444//eos/cta/dm/"),
}


@pytest.mark.parametrize("alias", NAMES)
def test_the_other_platforms_names_are_known(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    field, value = NAMES[alias]
    monkeypatch.setenv(alias, value)
    assert getattr(Settings(), field) == value
    monkeypatch.setenv(f"PERDURA_{field.upper()}", "ours")
    assert getattr(Settings(), field) == "ours"


def test_the_destination_may_be_named_by_its_whole_url() -> None:
    from perdura.clients.tape import tape_system

    tape = tape_system(
        Settings(tape_fts_url="https://fts:8446", tape_base_path=NAMES["CTA_BASE_PATH"][1], tape_token="t")
    )
    assert tape is not None
    assert tape.uri("a.tar") == "davs://eoscta.example.org:8444/eos/cta/dm/a.tar"
    tape.close()
