"""Which objects of which buckets a caller may name."""

from __future__ import annotations

import pytest

from perdura.settings import Settings
from perdura.storage.drop_zone import nameable, open_buckets

SETTINGS = Settings(announce_buckets="theirs perdura-aips")
DROP_ZONE = SETTINGS.bucket_incoming


@pytest.mark.parametrize("key", ["a.zip", "set/", "sets/1/50% é.zip", "depositors/a.zip", "x/deposits/a.zip", "a..b/c"])
def test_what_lies_in_the_drop_zone_is_named(key: str) -> None:
    assert nameable(DROP_ZONE, key, SETTINGS)


@pytest.mark.parametrize(
    "key",
    [
        *("deposits", "deposits/", "deposits/0190-1", "Deposits/1", "", "/", "/deposits/", "//deposits/1"),
        *("x/../deposits/", "./deposits/", "..", ".", "x/./", "x//y", "deposits/../x", "x\x00y", "x\ny", "x\ud800"),
    ],
)
def test_uploads_and_keys_that_could_be_taken_for_theirs_are_nobodys_to_name(key: str) -> None:
    assert not nameable(DROP_ZONE, key, SETTINGS)


def test_an_opened_bucket_has_no_uploads() -> None:
    assert nameable("theirs", "deposits/a.zip", SETTINGS)


@pytest.mark.parametrize("bucket", ["perdura-sips", "perdura-aips", "perdura-dips", "perdura-log", "elsewhere", ""])
def test_no_other_bucket_is_open_whatever_the_settings_say(bucket: str) -> None:
    assert not nameable(bucket, "a.zip", SETTINGS)


def test_a_drop_zone_that_is_also_a_bucket_of_our_own_is_shut() -> None:
    assert open_buckets(Settings(bucket_incoming="perdura-sips")) == []
