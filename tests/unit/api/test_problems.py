"""Problem details."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import BadRequest, InternalServerError, RequestEntityTooLarge

from perdura.api.problems import BODY_LIMIT, NAMING_LIMIT, FieldError, Problem, blaming, document, problem_of
from perdura.errors import Broken, Conflict, NotFound, NotStored, Rejected, Retryable

texts = st.text(max_size=700)


@given(st.sampled_from([400, 404, 422, 503]), texts, st.lists(st.builds(FieldError, texts, texts), max_size=30))
def test_no_problem_is_larger_than_the_limit(status: int, detail: str, errors: list[FieldError]) -> None:
    body = document(Problem(status, detail, "code", tuple(errors)))
    assert len(body) <= (NAMING_LIMIT if errors else BODY_LIMIT)
    assert json.loads(body)["status"] == status


def test_every_wrong_field_is_named_however_many_there_are() -> None:
    errors = [FieldError(f"body.files.{number}.size", "Input should be greater than 0") for number in range(100)]
    told = json.loads(document(Problem(422, "x" * 1000, "invalid", errors)))
    assert [each["field"] for each in told["errors"]] == [each.field for each in errors]


def test_what_is_rejected_is_told_with_the_field_that_it_stood_in() -> None:
    with pytest.raises(Problem) as told, blaming("body.cron"):
        raise Rejected("It runs backwards.", code="cron-unreadable")
    assert told.value.code == "cron-unreadable"
    assert told.value.errors == (FieldError("body.cron", "It runs backwards."),)
    with pytest.raises(Conflict), blaming("body.cron"):
        raise Conflict("It is done.")


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
        (BadRequest(), 400),
        (RequestEntityTooLarge(), 413),
        (InternalServerError("/etc/secret"), 500),
    ],
)
def test_the_branch_of_an_error_decides(error: Exception, status: int) -> None:
    problem = problem_of(error)
    assert problem.status == status
    assert "secret" not in problem.detail
    if status == 503:
        assert problem.headers["Retry-After"] == "7"
