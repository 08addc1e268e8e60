"""Where lists go on that are shown page by page."""

from __future__ import annotations

from perdura.web.paging import following


def test_a_list_goes_on_where_its_cursor_says() -> None:
    assert following("/jobs", "abc") == "/jobs?cursor=abc"


def test_a_list_without_a_cursor_does_not_go_on() -> None:
    assert following("/jobs", None, q="word") is None


def test_what_was_asked_for_is_kept_and_quoted() -> None:
    assert following("/files", "abc", q="a&b c", state=None) == "/files?q=a%26b+c&cursor=abc"


def test_an_empty_parameter_stays() -> None:
    assert following("/jobs/1", "abc", state="") == "/jobs/1?state=&cursor=abc"
