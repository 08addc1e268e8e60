"""Who may see a record that is at an InvenioRDM already: what is decided here, and nothing opened by mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records
from perdura.errors import Broken
from perdura.ports import Hold

NEVER = "9999-12-31"
SHUT: Mapping[str, Any] = {"record": "restricted", "files": "restricted"}
"""Access that opens nothing, and never will by itself."""


def opens(access: Mapping[str, Any]) -> tuple[str, str]:
    """The days on which a record and its files become public: empty when they are, `NEVER` when no day is set.

    InvenioRDM opens both at the end of an embargo, whatever was restricted (inveniordm.md 1.7).
    """
    embargo = access.get("embargo") or {}
    until = str(embargo.get("until") or NEVER)[:10] if embargo.get("active") else NEVER
    return (
        until if access.get("record") == "restricted" else "",
        until if access.get("files") == "restricted" or access.get("record") == "restricted" else "",
    )


def is_stricter(wanted: Mapping[str, Any], record: Record) -> bool:
    """Whether a record or its files are to open later than they do now."""
    return any(shall > is_ for is_, shall in zip(opens(record.access), opens(wanted), strict=True))


def settle(
    records: Records, record: Record, wanted: Mapping[str, Any], ours: Mapping[str, Any] | None, hold: Hold
) -> bool:
    """Give a record, or the draft of one, the access that is `wanted`; whether it has it now.

    One that is less open than wanted is left as it is (False) unless that is what we gave it (`ours`): somebody there
    shut it. Of a published record everything else stays as it is shown; a change that somebody began there and did
    not publish is lost. Raises Broken when the server keeps it open.
    """
    now, then = opens(record.access), opens(wanted)
    if now == then:
        return True
    stricter = all(is_ >= shall for is_, shall in zip(now, then, strict=True))
    if stricter and (ours is None or now != opens(ours)):
        return False
    draft = records.edit(record.id) if record.published else record
    updated = records.update(record.id, _body(record, wanted), draft.revision)
    if updated.errors or opens(updated.access) != then:
        raise _refused(record, updated)
    if record.published:
        hold()
        records.publish(record.id)
        current = records.record(record.id)
        if current is None or opens(current.access) != then:
            raise _refused(record, current or updated)
    return True


def _body(record: Record, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The record as it is shown, with another access. A licence of the vocabulary is named by its id alone."""
    metadata = dict(record.metadata)
    if metadata.get("rights"):
        metadata["rights"] = [{"id": each["id"]} if each.get("id") else each for each in metadata["rights"]]
    return {
        "access": wanted,
        "files": {"enabled": record.has_files, **({"default_preview": record.preview} if record.preview else {})},
        "metadata": metadata,
        "custom_fields": record.custom_fields,
    }


def _refused(record: Record, found: Record) -> Broken:
    said = " ".join(found.errors) or "the server keeps another access"
    return Broken(
        f"Who may see the record {record.id} ({record.url}) is not what was decided here: {said}.",
        code="access-not-changed",
    )
