"""What is recorded of a step that recorded nothing itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perdura.errors import Broken
from perdura.outcome import StepState
from perdura.runtime.closing import unsuccessful, with_failure_event
from tests.unit.tape.fakes import archive


@pytest.mark.parametrize(
    ("step", "kind"), [("archive", "replication"), ("recall", "recovery"), ("verify", "fixity check")]
)
def test_a_step_that_was_stopped_leaves_an_event_of_the_kind_that_it_would_have_left(step: str, kind: str) -> None:
    stopped = unsuccessful(Broken("It cannot go on.", code="odd"), StepState.BLOCKED)
    outcome = with_failure_event(stopped, archive(None, name=step), "archive-cta", datetime.now(UTC))
    (event,) = outcome.events
    assert (event.type, event.outcomes[0].outcome) == (kind, "fail")
    assert event.outcomes[0].notes == ("odd: It cannot go on.",)
