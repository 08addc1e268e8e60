"""Every trap of the reference (inveniordm.md 3), and the tests that step into it: none may be without one.

Names that begin with `peers/` are tests on the real InvenioRDM alone; all others of these run on the fake and on it,
or, where a mood of the server is needed, on the fake.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PEERS = HERE.parents[1] / "peers"
REFERENCE = HERE.parents[3] / "shared/reference/inveniordm.md"

OF_THE_REFERENCE = {
    "201/200 with `errors` on a draft": [
        "publishing::test_errors_of_a_draft_that_was_taken_are_a_failure_in_the_servers_words",
        "publishing::test_custom_fields_that_the_instance_does_not_know_are_a_failure",
        "publishing::test_values_of_no_vocabulary_are_a_failure",
    ],
    '200 with `errors: "File upload transfer failed."` on content or part': [
        "publishing::test_content_put_onto_a_committed_file_is_recognised_as_lost",
        "publishing::test_a_part_of_the_wrong_length_is_refused",
    ],
    "200 on commit": [
        "publishing::test_a_checksum_that_was_declared_wrong_is_never_believed",
        "publishing::test_a_hole_where_a_part_is_missing_is_noticed",
        "publishing::test_a_worker_that_dies_between_two_parts_leaves_no_hole",
    ],
    "200 on a public read with a token": ["publishing::test_a_wrong_token_is_a_matter_for_the_operator"],
    "403 on a write": [
        "publishing::test_a_wrong_token_is_a_matter_for_the_operator",
        "publishing::test_a_draft_of_somebody_else_is_left_alone",
        "publishing::test_owners_may_not_delete",
    ],
    "404 on publish": ["publishing::test_a_second_publish_is_told_from_a_draft_that_is_gone"],
    "no hit in a search": [
        "moods::test_an_index_that_lags_makes_no_second_record",
        "publishing::test_a_new_version_of_a_resource_is_a_new_version_of_its_record",
    ],
    "410": [
        "publishing::test_a_record_that_was_deleted_there_stays_deleted",
        "step::test_a_record_that_was_withdrawn_there_is_not_made_anew",
    ],
    "412": ["publishing::test_a_draft_that_somebody_changed_meanwhile_is_merged_and_not_trampled"],
    "413": ["publishing::test_content_above_the_limit_goes_in_parts"],
    "500 on commit or content": ["publishing::test_a_commit_of_nothing_is_an_unknown_outcome_and_the_file_starts_anew"],
    "500 or 404 on publish/upload of a version": ["step::test_two_deliveries_at_once_make_one_record_each_version"],
    "500 on the call-back": ["notifying::test_addresses_that_are_too_long_are_told_beside"],
    "two `POST /versions` at once": ["step::test_two_deliveries_at_once_make_one_record_each_version"],
    "embargo with public files accepted": [
        "step::test_an_embargo_shuts_the_files_and_shows_the_record",
        "publishing::test_restricted_files_are_not_shown_to_strangers",
    ],
    "external DOI → 500": ["moods::test_an_instance_without_dois_is_told_from_an_outage"],
}
"""By the first column of its table."""

BESIDE = {
    "the server dies after each of its calls: 24 points": [
        "publishing::test_a_worker_that_dies_after_any_answer_leaves_one_record",
        "publishing::test_a_lost_answer_is_an_unknown_outcome_that_the_next_try_settles",
    ],
    "429 without a storm": [
        "publishing::test_a_busy_server_is_waited_for_briefly_or_left_alone",
        "publishing::test_retry_after_on_a_good_answer_is_not_waited_for",
    ],
    "429 in a storm": ["peers/inveniordm_limits::test_a_rate_limit_is_kept_to_with_and_without_a_storm_of_others"],
    "quotas": [
        "publishing::test_a_full_bucket_is_a_failure_and_can_be_mended",
        "peers/inveniordm_limits::test_what_is_over_a_quota_fails_in_the_servers_words_and_is_mended_by_a_larger_one",
    ],
    "100 files": [
        "publishing::test_more_files_than_a_record_holds_are_refused_in_the_servers_words",
        "step::test_a_dip_with_too_many_files_is_one_zip_with_its_own_history",
    ],
    "names that can be announced and never sent": [
        "publishing::test_names_that_no_record_can_hold_are_refused_before_anything_is_sent",
        "publishing::test_odd_file_names_arrive_unchanged",
    ],
    "the same external DOI twice": ["publishing::test_the_same_external_doi_cannot_be_published_twice"],
    "a draft of an earlier try beside the family of its Resource": [
        "publishing::test_a_draft_beside_the_family_of_its_resource_is_thrown_away"
    ],
    "parts that go to another host with our token": [
        "publishing::test_parts_go_to_no_host_that_the_operator_did_not_name"
    ],
    "308 on the call-back": ["notifying::test_a_redirect_is_followed_as_a_post_and_never_to_another_host"],
    "409 on the call-back": ["notifying::test_the_receiver_gets_every_status_once_and_reads_them_back"],
    "an MD5 that is told late, or never": [
        "at_work::test_an_md5_that_the_server_still_computes_is_waited_for",
        "at_work::test_a_worker_that_dies_while_the_server_computes_loses_nothing_that_is_there",
        "at_work::test_a_server_that_never_tells_an_md5_blocks_the_step_and_keeps_what_was_sent",
        "peers/inveniordm_background::test_an_md5_that_it_computes_in_the_background_is_waited_for",
    ],
    "a fetch by the server (F) that takes long, or fails": [
        "at_work::test_a_fetch_by_the_server_that_is_under_way_is_waited_for",
        "at_work::test_what_the_server_could_not_fetch_is_sent_and_not_asked_for_again",
        "peers/inveniordm_background::test_a_fetch_that_it_does_in_the_background_is_waited_for",
    ],
    "a community that was asked before": ["step::test_a_community_without_review_has_the_record_or_a_request_for_it"],
}
"""What is no row of that table."""


def written(name: str) -> set[str]:
    """The tests of a module by its name here."""
    path = PEERS / f"test_{name[6:]}.py" if name.startswith("peers/") else HERE / f"test_{name}.py"
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("trap", [*OF_THE_REFERENCE, *BESIDE])
def test_every_trap_has_tests(trap: str) -> None:
    for test in {**OF_THE_REFERENCE, **BESIDE}[trap]:
        module, _, name = test.partition("::")
        assert name in written(module)


@pytest.mark.skipif(not REFERENCE.is_file(), reason="../shared is not here")
def test_no_trap_of_the_reference_is_left_out() -> None:
    text = REFERENCE.read_text("utf-8")
    section = text[text.index("## 3. Traps") : text.index("## 4. ")]
    rows = re.findall(r"^\| (.+?) \| .+? \| .+? \|$", section, re.MULTILINE)
    assert [row for row in rows if row not in ("the server says", "---")] == list(OF_THE_REFERENCE)
