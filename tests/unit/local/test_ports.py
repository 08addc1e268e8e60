from __future__ import annotations

import socket

import pytest

from perdura.errors import Broken
from perdura.local import ports


@pytest.fixture
def taken_port() -> object:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_somebody_listens_on_is_not_free(taken_port: int) -> None:
    assert not ports.is_free(taken_port)


def test_a_port_that_was_just_left_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            connection, _ = listener.accept()
            connection.close()
    assert ports.is_free(port)


def test_ports_are_distinct_and_below_the_ephemeral_ones() -> None:
    chosen = ports.choose(["a", "b", "c"], "store", {})
    block = ports.object_store_ports(chosen.pop("store"))
    every = [*block, *chosen.values()]
    assert len(set(every)) == len(every) == 13
    assert max(every) < 32768


def test_known_ports_are_kept() -> None:
    first = ports.choose(["a", "b"], "store", {})
    assert ports.choose(["a", "b"], "store", first) == first


def test_a_known_port_that_was_taken_is_replaced(taken_port: int) -> None:
    assert ports.choose(["a"], None, {"a": taken_port})["a"] != taken_port


def test_the_store_moves_when_one_of_its_ten_ports_is_taken(taken_port: int) -> None:
    first = taken_port - ports.TWIN - 2
    assert ports.choose([], "store", {"store": first})["store"] != first


def test_no_free_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _port: False)
    with pytest.raises(Broken, match="for broker"):
        ports.choose(["broker"], None, {})
