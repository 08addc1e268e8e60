"""Credentials for sources: encrypted with a key of the environment, bound to owner and source, renewed."""

from __future__ import annotations

import base64

import pytest
from sqlalchemy import Engine, text

from perdura.errors import Broken, NotFound
from perdura.ids import new_id
from perdura.registry import credentials
from perdura.settings import Settings

pytestmark = pytest.mark.stack

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
SECRET = "top-secret-token"
OWNER = new_id()


def keyed(*keys: str) -> Settings:
    return Settings(credential_keys=" ".join(keys))


def put(database: Engine, settings: Settings, source: str = "zenodo") -> None:
    with database.begin() as connection:
        credentials.put(connection, settings, OWNER, source, SECRET)


def used(database: Engine, settings: Settings, source: str = "zenodo") -> str | None:
    with database.begin() as connection:
        return credentials.use(connection, settings, OWNER, source)


def test_what_is_kept_can_be_used_and_not_read_in_the_database(database: Engine) -> None:
    put(database, keyed(NEW))
    assert used(database, keyed(NEW)) == SECRET
    with database.connect() as connection:
        row = connection.execute(text("SELECT * FROM credential")).one()
    assert SECRET not in repr(row)
    assert SECRET.encode() not in bytes(row.ciphertext)
    assert row.used_at is not None


def test_there_is_none_for_another_source_or_owner(database: Engine) -> None:
    put(database, keyed(NEW))
    assert used(database, keyed(NEW), "gitlab") is None
    with database.begin() as connection:
        assert credentials.use(connection, keyed(NEW), new_id(), "zenodo") is None


@pytest.mark.parametrize("column", ["owner", "source"])
def test_a_row_given_to_somebody_else_cannot_be_read(database: Engine, column: str) -> None:
    put(database, keyed(NEW))
    other = {"owner": new_id(), "source": "gitlab"}[column]
    with database.begin() as connection:
        connection.execute(text(f"UPDATE credential SET {column} = :other"), {"other": other})
        row = connection.execute(text("SELECT owner, source FROM credential")).one()
        with pytest.raises(Broken):
            credentials.use(connection, keyed(NEW), row.owner, row.source)


def test_keys_are_rotated(database: Engine) -> None:
    put(database, keyed(OLD))
    assert used(database, keyed(NEW, OLD)) == SECRET
    with pytest.raises(Broken):
        used(database, keyed(NEW))
    with database.begin() as connection:
        assert credentials.renew(connection, keyed(NEW, OLD)) == 1
        assert credentials.renew(connection, keyed(NEW, OLD)) == 0
    assert used(database, keyed(NEW)) == SECRET


def test_a_credential_whose_key_is_gone_holds_up_no_other(database: Engine) -> None:
    lost = base64.b64encode(b"l" * 32).decode()
    put(database, keyed(lost), "a-source")
    put(database, keyed(OLD))
    with database.begin() as connection:
        assert credentials.renew(connection, keyed(NEW, OLD)) == 1
        assert credentials.unreadable(connection, keyed(NEW)) == 1
    assert used(database, keyed(NEW)) == SECRET


def test_the_same_secret_never_looks_the_same(database: Engine) -> None:
    put(database, keyed(NEW), "a")
    put(database, keyed(NEW), "b")
    with database.connect() as connection:
        first, second = connection.execute(text("SELECT ciphertext FROM credential")).scalars()
    assert first != second


def test_a_credential_is_forgotten(database: Engine) -> None:
    put(database, keyed(NEW))
    with database.begin() as connection:
        credentials.remove(connection, OWNER, "zenodo")
        with pytest.raises(NotFound):
            credentials.remove(connection, OWNER, "zenodo")
    assert used(database, keyed(NEW)) is None


@pytest.mark.parametrize("keys", ["", "short", "!!!", base64.b64encode(b"x" * 31).decode()])
def test_without_a_good_key_nothing_is_kept(database: Engine, keys: str) -> None:
    with pytest.raises(Broken):
        put(database, Settings(credential_keys=keys))
