"""What a request for a withdrawal may name as the destination."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from perdura.api.models.access import WithdrawalRequest
from perdura.registry import withdrawals


def test_a_destination_is_named_as_the_configuration_may() -> None:
    asked = WithdrawalRequest(reason="spam", destination="library.example-2")
    assert withdrawals.after(frozenset(), withdrawals.decided(asked.destination, asked.reason)) == {"library.example-2"}


@pytest.mark.parametrize("name", ["", withdrawals.EVERYWHERE, "a: b", "Library", "a" * 51])
def test_what_no_destination_is_called_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="destination"):
        WithdrawalRequest(reason="spam", destination=name)
