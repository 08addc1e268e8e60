"""Publishing exactly once: on the fake and on a real InvenioRDM, whatever happens to worker and answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from perdura.clients.inveniordm.files import Files
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import (
    RdmChanged,
    RdmForbidden,
    RdmGone,
    RdmRefused,
    RdmTooLarge,
    RdmUnavailable,
    RdmUnknown,
    Wire,
)
from perdura.errors import Broken, Rejected
from perdura.steps.publish_found import look
from perdura.steps.publish_record import Publisher
from perdura.steps.publish_wanted import Sending
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.world import FILES, Died, Package, Target, file_of, md5s
from tests.peers.inveniordm.peer import Peer
from tests.peers.inveniordm.storage import storage

CALLS = 10
"""Requests that a new record of two files takes."""
EMBARGOED = {
    "access": {
        "record": "public", "files": "restricted",
        "embargo": {"active": True, "until": "2990-01-01", "reason": "thesis"},
    }
}  # fmt: skip
QUICK = Sending(wait=lambda seconds: None)


def test_a_package_becomes_one_record_with_its_bytes(target: Target) -> None:
    package = Package()
    wire = target.wire()
    done = target.publish(package, wire=wire)
    assert done.record.published
    assert done.record.identifies(package.package)
    assert target.digests(done.record.id) == md5s(FILES)
    assert wire.calls == CALLS
    assert package.known == done.record.id


def test_publishing_again_changes_nothing(target: Target) -> None:
    package = Package()
    first = target.publish(package)
    for remember in (True, False):
        wire = target.wire()
        again = target.publish(package, wire=wire, remember=remember)
        assert (again.record.id, again.record.revision) == (first.record.id, first.record.revision)
        assert wire.calls <= 4
    assert len(target.published(package.resource)) == 1


def test_a_new_version_of_a_resource_is_a_new_version_of_its_record(target: Target) -> None:
    package = Package()
    first = target.publish(package)
    second = target.publish(package.next(files={"report ü.pdf": b"revised", "new.txt": b""}))
    assert second.record.parent == first.record.parent
    assert [record.index for record in target.published(package.resource)] == [1, 2]
    assert target.digests(second.record.id) == md5s({"report ü.pdf": b"revised", "new.txt": b""})
    assert target.digests(first.record.id) == md5s(FILES)


@pytest.mark.parametrize(("version", "more"), [(1, {}), (2, {}), (1, EMBARGOED)], ids=["new", "version", "embargoed"])
@pytest.mark.parametrize("after", range(1, CALLS + 2))
def test_a_worker_that_dies_after_any_answer_leaves_one_record(
    target: Target, after: int, version: int, more: Mapping[str, Any]
) -> None:
    """After every answer for a new record (10), a new version (11, its draft is looked at) and an embargoed record.

    Two workers die, one that knows nothing of the draft and one that noted it; then two live.
    """
    package = Package(more=more)
    if version == 2:
        target.publish(package)
        package = package.next()
    for remember in (False, True):
        with suppress(Died):
            target.publish(package, wire=target.wire(after=after), remember=remember)
    again = target.publish(package)
    assert target.publish(package, remember=False).record.id == again.record.id
    records = target.published(package.resource)
    assert [record.index for record in records] == list(range(1, version + 1))
    assert len({record.parent for record in records}) == 1
    assert target.digests(again.record.id) == md5s(FILES)
    assert target.drafts(package.resource) == []


@pytest.mark.parametrize("after", range(1, CALLS + 1))
def test_a_lost_answer_is_an_unknown_outcome_that_the_next_try_settles(target: Target, after: int) -> None:
    package = Package()
    with pytest.raises(RdmUnknown) as lost:
        target.publish(package, wire=target.wire(after=after, lose=True))
    assert lost.value.retry_after
    done = target.publish(package)
    assert [record.id for record in target.published(package.resource)] == [done.record.id]


def test_files_in_parts_are_whole(target: Target) -> None:
    big = os.urandom(2_500_000)
    package = Package(
        files={"big.bin": big, "small.txt": b"x"}, sending=replace(QUICK, multipart_above=2**20, part_size=10**6)
    )
    done = target.publish(package)
    assert target.digests(done.record.id) == md5s(package.files)


def test_a_worker_that_dies_between_two_parts_leaves_no_hole(target: Target) -> None:
    big = os.urandom(2_500_000)
    for after in (4, 5, 6, 7):
        package = Package(files={"big.bin": big}, sending=replace(QUICK, multipart_above=2**20, part_size=10**6))
        with pytest.raises(Died):
            target.publish(package, wire=target.wire(after=after))
        done = target.publish(package)
        assert target.digests(done.record.id) == md5s(package.files)


def test_wrong_files_of_an_earlier_draft_are_replaced_and_right_ones_left(target: Target) -> None:
    package = Package()
    with target.wire() as wire:
        draft = Records(wire).create(package.order().body)
        files = Files(wire)
        for key, data in {"report ü.pdf": FILES["report ü.pdf"], "data/table 1.csv": b"old", "stray": b"s"}.items():
            files.announce(draft.id, [{"key": key}])
            files.send(draft.id, key, file_of(key, data).whole, len(data))
            files.commit(draft.id, key)
        files.announce(draft.id, [{"key": "pending"}])
    done = target.publish(package)
    assert done.record.id == draft.id
    assert target.digests(done.record.id) == md5s(FILES)


def test_a_record_may_have_metadata_only(target: Target) -> None:
    package = Package(files={})
    done = target.publish(package)
    assert done.record.published
    assert done.record.metadata["title"] == "A preserved package"


def test_odd_file_names_arrive_unchanged(target: Target) -> None:
    names = ["a b.txt", "q?x#y.txt", "per%cent.txt", "back\\slash", ".hidden", "a//b", "ñ/é", "empty"]
    files = {name: b"" if name == "empty" else name.encode() for name in names}
    done = target.publish(Package(files=files))
    assert target.digests(done.record.id) == md5s(files)


@pytest.mark.parametrize("name", ["x" * 256, "a/../b", ".."])
def test_names_that_no_record_can_hold_are_refused_before_anything_is_sent(target: Target, name: str) -> None:
    package = Package(files={name: b"x"})
    with pytest.raises(Rejected, match="cannot be the name"):
        target.publish(package)
    assert target.published(package.resource) == []


def test_errors_of_a_draft_that_was_taken_are_a_failure_in_the_servers_words(target: Target) -> None:
    package = Package(metadata={"publication_date": "20x"})
    with pytest.raises(RdmRefused, match=r"publication_date.*valid date"):
        target.publish(package)
    assert target.published(package.resource) == []
    mended = replace(package, metadata={})
    assert target.publish(mended).record.id == package.known
    assert target.drafts(package.resource) == []


def test_values_of_no_vocabulary_are_a_failure(target: Target) -> None:
    with pytest.raises(RdmRefused, match=r"400 Invalid value nope"):
        target.publish(Package(metadata={"resource_type": {"id": "nope"}}))


def test_custom_fields_that_the_instance_does_not_know_are_a_failure(target: Target) -> None:
    with pytest.raises(RdmRefused, match="Unknown field"):
        target.publish(Package(more={"custom_fields": {"nope:x": "1"}}))


def test_a_second_publish_is_told_from_a_draft_that_is_gone(target: Target) -> None:
    package = Package()
    done = target.publish(package)
    with target.wire() as wire:
        assert Records(wire).publish(done.record.id) is None
    assert target.publish(package).record.id == done.record.id


def test_content_put_onto_a_committed_file_is_recognised_as_lost(target: Target) -> None:
    package = Package(files={"a.txt": b"one"})
    with target.wire() as wire:
        draft = Records(wire).create(package.order().body)
        files, file = Files(wire), file_of("a.txt", b"two")
        files.announce(draft.id, [{"key": "a.txt"}])
        files.send(draft.id, "a.txt", file_of("a.txt", b"one").whole, 3)
        files.commit(draft.id, "a.txt")
        with pytest.raises(RdmRefused, match="200 with errors: File upload transfer failed"):
            files.send(draft.id, "a.txt", file.whole, 3)
        assert files.list(draft.id) == []
    done = target.publish(package)
    assert target.digests(done.record.id) == md5s(package.files)


def test_a_commit_of_nothing_is_an_unknown_outcome_and_the_file_starts_anew(target: Target) -> None:
    package = Package(files={"a.txt": b"one"})
    with target.wire() as wire:
        draft = Records(wire).create(package.order().body)
        Files(wire).announce(draft.id, [{"key": "a.txt"}])
        with pytest.raises(RdmUnknown, match="500"):
            Files(wire).commit(draft.id, "a.txt")
    done = target.publish(package)
    assert done.record.id == draft.id
    assert target.digests(done.record.id) == md5s(package.files)


def test_a_checksum_that_was_declared_wrong_is_never_believed(target: Target) -> None:
    """With multipart the server tells a declared MD5 as its own: what is compared is never declared by us."""
    package = Package(files={"m.bin": b"x" * 2000}, sending=replace(QUICK, multipart_above=100, part_size=1000))
    with target.wire() as wire:
        draft = Records(wire).create(package.order().body)
        entry = {
            "key": "m.bin", "size": 2000, "checksum": "md5:" + "0" * 32,
            "transfer": {"type": "M", "parts": 2, "part_size": 1000},
        }  # fmt: skip
        (announced,) = Files(wire).announce(draft.id, [entry])
        for url in announced.parts.values():
            Files(wire).send_part(url, lambda: iter([b"y" * 1000]), 1000)
        assert Files(wire).commit(draft.id, "m.bin").md5 == "0" * 32
    done = target.publish(package)
    assert done.record.id == draft.id
    assert target.digests(done.record.id) == md5s(package.files)


def test_a_hole_where_a_part_is_missing_is_noticed(target: Target) -> None:
    package = Package(files={"m.bin": b"x" * 2000}, sending=replace(QUICK, multipart_above=100, part_size=1000))
    with target.wire() as wire:
        draft = Records(wire).create(package.order().body)
        entry = {"key": "m.bin", "size": 2000, "transfer": {"type": "M", "parts": 2, "part_size": 1000}}
        (announced,) = Files(wire).announce(draft.id, [entry])
        Files(wire).send_part(announced.parts[1], lambda: iter([b"x" * 1000]), 1000)
        committed = Files(wire).commit(draft.id, "m.bin")
        assert (committed.complete, committed.size) == (True, 2000)
    done = target.publish(package)
    assert target.digests(done.record.id) == md5s(package.files)


def test_a_part_of_the_wrong_length_is_refused(target: Target) -> None:
    with target.wire() as wire:
        draft = Records(wire).create(Package().order().body)
        entry = {"key": "m.bin", "size": 2000, "transfer": {"type": "M", "parts": 2, "part_size": 1000}}
        (announced,) = Files(wire).announce(draft.id, [entry])
        with pytest.raises(RdmRefused, match="File upload transfer failed"):
            Files(wire).send_part(announced.parts[1], lambda: iter([b"short"]), 5)


def test_a_package_that_is_not_what_its_index_says_is_not_published(target: Target) -> None:
    package = Package()
    order = package.order()
    order.files[0].sha256 = "0" * 64
    with target.wire() as wire, pytest.raises(Broken, match="not what the index of the AIP says"):
        Publisher(wire, order, package.note, lambda: None).publish(look(Records(wire), order.sought))
    assert target.published(package.resource) == []


def test_a_wrong_token_is_a_matter_for_the_operator(target: Target) -> None:
    with target.wire(token="wrong") as wire, pytest.raises(RdmForbidden, match="token is missing or wrong"):
        Records(wire).check_token()
    with pytest.raises(RdmForbidden, match="403"):
        target.publish(Package(), wire=target.wire(token="wrong"))


def test_a_draft_of_somebody_else_is_left_alone(target: Target) -> None:
    package = Package()
    with target.wire("other") as wire:
        package.known = Records(wire).create(package.order().body).id
    with pytest.raises(RdmForbidden, match="another user's"):
        target.publish(package)


def test_a_record_that_was_deleted_there_stays_deleted(target: Target) -> None:
    package = Package()
    done = target.publish(package)
    with target.wire("admin") as wire:
        Records(wire).delete(done.record.id, "test-record", "withdrawn by its author")
    with pytest.raises(RdmGone) as gone:
        target.publish(package)
    assert (gone.value.tombstone.reason, gone.value.tombstone.note) == ("test-record", "withdrawn by its author")


def test_owners_may_not_delete(target: Target) -> None:
    done = target.publish(Package())
    with target.wire() as wire, pytest.raises(RdmForbidden):
        Records(wire).delete(done.record.id, "test-record", "")


def test_a_draft_that_somebody_changed_meanwhile_is_merged_and_not_trampled(target: Target) -> None:
    package = Package(files={})
    order = package.order()
    with target.wire() as wire:
        records = Records(wire)
        draft = records.create(order.body)
        stale = draft.revision
        theirs = {**order.body["metadata"], "description": "<p>written by a curator</p>"}
        records.update(draft.id, {**order.body, "metadata": theirs}, stale)
        with pytest.raises(RdmChanged, match="412"):
            records.update(draft.id, order.body, stale)
        described = Publisher(wire, order, package.note, lambda: None)._described(draft, ())
    assert "written by a curator" in described.metadata["description"]


def test_a_draft_beside_the_family_of_its_resource_is_thrown_away(target: Target) -> None:
    """A package that failed half-way while another one of its Resource was published becomes a version of that."""
    early = Package()
    with target.wire() as wire:
        early.known = Records(wire).create(early.order().body).id
    late = early.next()
    first = target.publish(late)
    second = target.publish(early)
    assert second.record.parent == first.record.parent
    assert [record.index for record in target.published(early.resource)] == [1, 2]
    assert target.drafts(early.resource) == []


def test_the_same_external_doi_cannot_be_published_twice(target: Target) -> None:
    doi = f"10.1234/perdura.{Package().package[-12:]}"
    more = {"pids": {"doi": {"identifier": doi, "provider": "external"}}}
    first = target.publish(Package(more=more))
    assert first.record.doi == doi
    with pytest.raises(RdmRefused, match="already exists"):
        target.publish(Package(more=more))


def test_restricted_files_are_not_shown_to_strangers(target: Target) -> None:
    wire = target.wire()
    done = target.publish(Package(more=EMBARGOED), wire=wire)
    assert wire.calls == CALLS
    with target.wire("other") as wire:
        shown = Records(wire).record(done.record.id)
        assert shown is not None
        assert shown.files == ()
        with pytest.raises(RdmForbidden):
            Files(wire).list(done.record.id, draft=False)
    assert target.digests(done.record.id) == md5s(FILES)


def test_files_that_a_record_does_not_tell_of_are_asked_for(fake: Fake) -> None:
    target = Target(fake.url, TOKENS, fake.transport, fake)
    fake.lists_files = False
    package, wire = Package(), target.wire()
    done = target.publish(package, wire=wire)
    assert wire.calls == CALLS + 1
    assert target.digests(done.record.id) == md5s(FILES)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("harm", ["other bytes", "missing", "stray"])
def test_a_published_record_with_other_files_than_were_sent_is_broken(fake: Fake, harm: str, listed: bool) -> None:
    """Whether the record tells of its files or their list does, the read-back sees what became of them."""
    target = Target(fake.url, TOKENS, fake.transport, fake)
    fake.lists_files = listed
    package = Package()
    files = fake.items[target.publish(package).record.id].files
    key = "data/table 1.csv"
    if harm == "missing":
        del files[key]
    else:
        changed = files["stray" if harm == "stray" else key] = replace(files[key], content=b"x" * len(FILES[key]))
        changed.key = "stray" if harm == "stray" else key
    with pytest.raises(Broken, match=r"was published with"):
        target.publish(package)


def test_content_above_the_limit_goes_in_parts(target: Target) -> None:
    """A server says 413 above its limit of content (100 MiB on the real one); then parts are sent."""
    size = 101 * 2**20
    if target.server is not None:
        target.server.max_content, size = 1000, 5000
    patient = replace(QUICK, multipart_above=2**40, part_size=64 * 2**20 if target.server is None else 900)
    package = Package(files={"big.bin": os.urandom(size)}, sending=patient)
    done = target.publish(package)
    assert target.digests(done.record.id) == md5s(package.files)
    with target.wire() as wire:
        draft = Records(wire).create(package.order().body)
        Files(wire).announce(draft.id, [{"key": "x"}])
        with pytest.raises(RdmTooLarge, match="413"):
            Files(wire).send(draft.id, "x", file_of("x", package.files["big.bin"]).whole, size)


def test_more_files_than_a_record_holds_are_refused_in_the_servers_words(target: Target) -> None:
    package = Package(files={f"{number}.txt": b"x" for number in range(101)})
    with pytest.raises(RdmRefused, match="exceeding the max amount per record"):
        target.publish(package)
    assert target.published(package.resource) == []


def test_a_full_bucket_is_a_failure_and_can_be_mended(fake: Fake) -> None:
    target = Target(fake.url, TOKENS, fake.transport, fake)
    package = Package()
    fake.quota = 100
    with pytest.raises(RdmRefused, match="Bucket quota exceeded"):
        target.publish(package)
    fake.quota = 10**6
    assert target.digests(target.publish(package).record.id) == md5s(FILES)


@pytest.mark.parametrize(("storm", "wait", "survives"), [(2, "1", True), (1, "3600", False), (500, "1", False)])
def test_a_busy_server_is_waited_for_briefly_or_left_alone(fake: Fake, storm: int, wait: str, survives: bool) -> None:
    target = Target(fake.url, TOKENS, fake.transport, fake)
    package = Package()
    fake.storm, fake.storm_wait = storm, wait
    if survives:
        assert target.publish(package).record.published
        return
    with pytest.raises(RdmUnavailable, match="429") as busy:
        target.publish(package)
    assert busy.value.retry_after == float(wait)
    fake.storm = 0
    target.publish(package)
    assert len(target.published(package.resource)) == 1


def test_retry_after_on_a_good_answer_is_not_waited_for(fake: Fake) -> None:
    slept: list[float] = []
    with Wire(fake.url, TOKENS["publisher"], transport=fake.transport(), sleep=slept.append) as wire:
        Records(wire).find("x")
    assert slept == []


def test_parts_go_to_no_host_that_the_operator_did_not_name(fake: Fake) -> None:
    with Wire(fake.url, "secret", transport=fake.transport()) as wire, pytest.raises(Broken, match="upload hosts"):
        wire.send_part("https://storage.elsewhere.test/part", lambda: iter([b"x"]), 1)


@pytest.mark.peers
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("user", "fetched"), [("admin", True), ("publisher", False)])
def test_a_server_that_may_fetch_does_so_and_another_is_sent_the_bytes(
    inveniordm: Peer, user: str, fetched: bool
) -> None:
    """Transfer type F is for superusers of the instance; for everybody else the file is uploaded."""
    data = os.urandom(300_000)
    with storage(inveniordm.transfer_port, data) as asked:
        package = Package(files={"aip.tar": data}, sending=Sending(fetch=True))
        order = package.order()
        order.files[0].link = lambda: f"http://127.0.0.1:{inveniordm.transfer_port}/aip.tar?signature=secret"
        with Wire(inveniordm.url, inveniordm.tokens[user]) as wire:
            done = Publisher(wire, order, package.note, lambda: None).publish(look(Records(wire), order.sought))
            (stored,) = Files(wire).list(done.record.id, draft=False)
    assert stored.md5 == md5s(package.files)["aip.tar"]
    assert bool(asked) is fetched
