"""Digests that are put down and taken up again are those of `hashlib`."""

from __future__ import annotations

import _ctypes
import hashlib
import random

import pytest

from perdura.errors import Broken
from perdura.packages import resumable
from perdura.packages.resumable import ResumableDigest, available

pytestmark = pytest.mark.skipif(not available("sha256"), reason="libcrypto has no low-level digests here")


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
def test_a_digest_continues_anywhere_between_blocks(algorithm: str) -> None:
    chance = random.Random(7)
    data = chance.randbytes(100_003)
    digest = ResumableDigest(algorithm)
    position = 0
    while position < len(data):
        step = chance.randrange(1, 200) * digest.block
        digest.update(bytearray(data[position : position + step]))
        position += step
        if digest.length % digest.block == 0:
            digest = ResumableDigest.restore(digest.save())
    assert digest.digest() == hashlib.new(algorithm, data).digest()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_length_counter_passes_four_gibibit(algorithm: str) -> None:
    piece = bytearray(2**24)
    whole, ours = hashlib.new(algorithm), ResumableDigest(algorithm)
    for number in range(34):
        whole.update(piece)
        ours.update(piece)
        if number in (30, 31, 32):
            ours = ResumableDigest.restore(ours.save())
    assert ours.length > 2**29
    assert ours.hexdigest() == whole.hexdigest()


def test_looking_at_a_digest_does_not_end_it() -> None:
    digest = ResumableDigest("sha256")
    digest.update(b"ab")
    assert digest.hexdigest() == hashlib.sha256(b"ab").hexdigest()
    digest.update(b"c")
    assert digest.hexdigest() == hashlib.sha256(b"abc").hexdigest()


def test_a_state_is_portable_text_of_known_form() -> None:
    state = ResumableDigest("sha256").save()
    assert len(state) == 17 + 32 + 4
    assert state[:8] == b"sha256\0\0"
    assert state[17:21] == bytes.fromhex("6a09e667"), "the first chain value of FIPS 180-4, big-endian"


def test_a_state_inside_a_block_is_not_saved() -> None:
    digest = ResumableDigest("sha256")
    digest.update(b"x")
    with pytest.raises(Broken):
        digest.save()


@pytest.mark.parametrize("place", range(0, 53, 4))
def test_a_damaged_state_is_refused(place: int) -> None:
    state = bytearray(ResumableDigest("sha256").save())
    state[place] ^= 1
    with pytest.raises(Broken):
        ResumableDigest.restore(bytes(state))


def test_without_libcrypto_nothing_is_resumable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable.ctypes.util, "find_library", lambda _: None)
    monkeypatch.setattr(resumable._hashlib, "__file__", _ctypes.__file__)  # no OpenSSL in it
    for cached in (resumable.available, resumable._library):
        cached.cache_clear()
    try:
        assert not available("sha256")
        with pytest.raises(Broken):
            ResumableDigest("sha256")
    finally:
        for cached in (resumable.available, resumable._library):
            cached.cache_clear()


def test_what_keeps_another_state_is_not_offered() -> None:
    assert not available("sha3256")
