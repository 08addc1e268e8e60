"""Problem details."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdura.api.problems import BODY_LIMIT, FieldError, Problem, document, problem_of
from perdura.errors import Broken, Conflict, NotFound, NotStored, Rejected, Retryable

texts = st.text(max_size=700)


@given(st.sampled_from([400, 404, 422, 503]), texts, st.lists(st.builds(FieldError, texts, texts), max_size=30))
def test_no_problem_is_larger_than_the_limit(status: int, detail: str, errors: list[FieldError]) -> None:
    body = document(Problem(status, detail, "code", tuple(errors)))
    assert len(body) <= BODY_LIMIT
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("x"), 404),
        (NotStored("x"), 404),
        (Conflict("x"), 409),
        (Rejected("x"), 422),
        (Retryable("x", retry_after=7), 503),
        (Broken("/etc/secret"), 500),
        (RuntimeError("/etc/secret"), 500),
    ],
)
def test_the_branch_of_an_error_decides(error: Exception, status: int) -> None:
    problem = problem_of(error)
    assert problem.status == status
    assert "secret" not in problem.detail
    if status == 503:
        assert problem.headers["Retry-After"] == "7"
