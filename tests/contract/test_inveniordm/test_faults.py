"""Several records of one Archive: what is wrong with one keeps no other from what was decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmGone, Wire
from perdura.errors import Broken, Rejected, Retryable
from perdura.ids import new_id
from perdura.outcome import StepState
from perdura.steps import publish, withdraw
from perdura.steps.publish_faults import together
from tests.contract.test_inveniordm.meanwhile import World
from tests.contract.test_inveniordm.ports import ports_for, preserved
from tests.contract.test_inveniordm.test_protection import access_of
from tests.contract.test_inveniordm.test_step import FILES


@dataclass
class Refusing(httpx.BaseTransport):
    """Passes requests on; what would change one record is answered with this status instead."""

    inner: httpx.BaseTransport
    record: str
    status: int

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method in {"POST", "PUT", "DELETE"} and f"/api/records/{self.record}" in request.url.path:
            return httpx.Response(self.status, json={"status": self.status, "message": "Not this one."})
        return self.inner.handle_request(request)


def two_versions(world: World) -> tuple[str, str]:
    """The AIP of the Archive was renewed, so that it has two records, both open."""
    first = world.publish().output["destinations"]["library"]["record"]
    renewed = preserved(world.store, {**FILES, "more.txt": b"m"})
    step = replace(world.archive.step, id=new_id(), checkpoint={})
    world.archive = replace(world.archive, packages=renewed.packages, step=step)
    second = world.publish().output["destinations"]["library"]["record"]
    assert first != second
    return first, second


def refused(world: World, step: Any, record: str, status: int, user: str = "publisher", **told: Any) -> Any:
    """One invocation of a step while the server refuses what would change one record."""
    asked = replace(world.archive, step=replace(world.archive.step, id=new_id(), checkpoint={}, input=told))
    transport = Refusing(world.target.transport(), record, status)
    token = world.target.tokens[user]
    return step.run(
        asked,
        ports_for(world.store, world.path, world.placements, asked.step.id),
        lambda _: Wire(world.target.url, token, transport=transport, sleep=lambda seconds: None),
    )


@pytest.mark.parametrize("told", [{}, {"where": "published"}])
@pytest.mark.parametrize(("status", "state"), [(403, StepState.BLOCKED), (400, StepState.FAILED)])
def test_a_record_that_cannot_be_put_under_an_embargo_keeps_no_other_open(
    made: Callable[..., World], told: dict[str, Any], status: int, state: StepState
) -> None:
    world = made()
    first, second = two_versions(world)
    world.put_under_embargo("2990-01-01")
    outcome = refused(world, publish, first, status, **told)
    assert outcome.state is state
    assert "Not this one." in outcome.message
    assert access_of(world.target, first)["files"] == "public"
    assert access_of(world.target, second)["files"] == "restricted"
    world.put_under_embargo(None)
    assert world.publish().state is StepState.COMPLETED
    assert access_of(world.target, second)["files"] == "public"


def test_the_log_names_only_the_records_that_were_shut(made: Callable[..., World]) -> None:
    world = made()
    first, second = two_versions(world)
    world.put_under_embargo("2990-01-01")
    (event,) = refused(world, publish, first, 403, where="published").events
    assert event.type == "policy assignment"
    assert [each.value for each in event.objects if each.type == "InvenioRDM record"] == [second]


def test_a_server_that_fails_at_one_record_is_asked_again_when_the_others_are_shut(
    made: Callable[..., World],
) -> None:
    world = made()
    first, second = two_versions(world)
    world.put_under_embargo("2990-01-01")
    with pytest.raises(Retryable):
        refused(world, publish, first, 500, where="published")
    assert access_of(world.target, second)["files"] == "restricted"


def test_a_record_that_cannot_be_shut_keeps_no_other_open_where_all_is_withheld(made: Callable[..., World]) -> None:
    world = made()
    first, second = two_versions(world)
    world.decide()
    outcome = refused(world, publish, first, 403)
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "access-system-forbids")
    assert outcome.output["destinations"]["library"]["restricted"] == [second]
    assert access_of(world.target, first)["record"] == "public"
    assert access_of(world.target, second)["record"] == "restricted"


def test_a_record_that_cannot_be_deleted_keeps_no_other(made: Callable[..., World]) -> None:
    world = made()
    first, second = two_versions(world)
    world.decide()
    outcome = refused(world, withdraw, first, 403, "admin", reason="spam")
    assert (outcome.state, outcome.output["still_public"]) == (StepState.BLOCKED, ["library"])
    with world.target.wire() as wire, pytest.raises(RdmGone):
        Records(wire).record(second)
    assert world.withdraw("admin").state is StepState.COMPLETED
    with world.target.wire() as wire, pytest.raises(RdmGone):
        Records(wire).record(first)


def test_several_faults_are_one_and_what_may_pass_is_waited_for_first() -> None:
    away, ours, theirs = Retryable("away"), Broken("ours", code="a"), Rejected("theirs", code="b")
    assert together([theirs]) is theirs
    both = together([theirs, ours])
    assert (type(both), both.code, both.message) == (Broken, "a", "theirs; ours")
    assert type(together([theirs, theirs])) is Rejected
    with pytest.raises(Retryable):
        together([ours, away])
