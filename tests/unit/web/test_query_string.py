"""What pages are sent, as models, and addresses made of them."""

from __future__ import annotations

import pytest

from perdura.api.models.access import RestrictionRequest
from perdura.api.problems import Problem
from perdura.web.query_string import checked


def test_a_form_becomes_its_model() -> None:
    assert checked(RestrictionRequest, {"restricted": True, "reason": "Under review"}).reason == "Under review"


@pytest.mark.parametrize(("where", "named"), [("form", "form.restricted"), ("query", "query.restricted")])
def test_what_is_wrong_in_a_form_is_named(where: str, named: str) -> None:
    with pytest.raises(Problem) as refused:
        checked(RestrictionRequest, {"restricted": "perhaps", "reason": "Under review"}, where)
    assert refused.value.status == 422
    assert [error.field for error in refused.value.errors] == [named]
