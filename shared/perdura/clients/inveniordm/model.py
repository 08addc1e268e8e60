"""What InvenioRDM says of drafts, records and files, and how its refusals read; parsed leniently, judged strictly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = 1500
"""Characters of a server's words that are quoted."""


@dataclass(frozen=True, slots=True)
class Record:
    """A draft or a published record. `revision` counts drafts and records separately (inveniordm.md 1.2)."""

    id: str
    parent: str
    revision: int
    published: bool
    status: str
    index: int
    latest: bool
    doi: str | None
    oai: str | None
    url: str
    access: Mapping[str, Any]
    metadata: Mapping[str, Any]
    custom_fields: Mapping[str, Any]
    communities: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    has_files: bool = True
    """Whether files are enabled; without them it is a record of metadata only."""
    review: str | None = None
    """Id of the request for review, when one is open."""
    preview: str | None = None
    """The file that its page shows first, where somebody chose one."""
    files: tuple[FileEntry, ...] = field(default=(), repr=False)
    """Its files as far as this answer tells of them: none to who may not see them, and without a state of transfer."""

    def identifies(self, wanted: str) -> bool:
        """Whether this record carries an identifier of ours: in a custom field, or among its identifiers."""
        named = [entry.get("identifier") for entry in map(_mapping, _items(self.metadata.get("identifiers")))]
        return wanted in named or wanted in self.custom_fields.values()


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a draft or record. `md5` None until the server tells one; `parts` are addresses by part number."""

    key: str
    status: str
    size: int | None
    md5: str | None
    transfer: str = "L"
    error: str | None = None
    parts: Mapping[int, str] = field(default_factory=dict, repr=False)

    @property
    def complete(self) -> bool:
        """Whether its bytes are committed."""
        return self.status == "completed"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What a server shows of a record that was deleted there (410)."""

    reason: str
    note: str
    removed_at: str | None


def record_of(value: Any) -> Record:
    """A record out of an answer; raises ValueError when it has no id."""
    if not isinstance(value, Mapping) or not isinstance(value.get("id"), str):
        raise ValueError("an answer without a record")
    parent, versions = _mapping(value.get("parent")), _mapping(value.get("versions"))
    pids, links = _mapping(value.get("pids")), _mapping(value.get("links"))
    review = _mapping(parent.get("review"))
    return Record(
        id=value["id"],
        parent=str(parent.get("id") or ""),
        revision=int(value.get("revision_id") or 0),
        published=bool(value.get("is_published")),
        status=str(value.get("status") or ""),
        index=int(versions.get("index") or 1),
        latest=bool(versions.get("is_latest")),
        doi=_mapping(pids.get("doi")).get("identifier"),
        oai=_mapping(pids.get("oai")).get("identifier"),
        url=str(links.get("self_html") or ""),
        access=_mapping(value.get("access")),
        metadata=_mapping(value.get("metadata")),
        custom_fields=_mapping(value.get("custom_fields")),
        communities=tuple(map(str, _items(_mapping(parent.get("communities")).get("ids")))),
        errors=tuple(complaints(value)),
        has_files=_mapping(value.get("files")).get("enabled") is not False,
        review=str(review["id"]) if review.get("id") else None,
        preview=_mapping(value.get("files")).get("default_preview") or None,
        files=tuple(map(file_of, _mapping(_mapping(value.get("files")).get("entries")).values())),
    )


def file_of(value: Any) -> FileEntry:
    """A file entry out of an answer."""
    entry = _mapping(value)
    checksum = str(entry.get("checksum") or "")
    transfer = _mapping(entry.get("transfer"))
    links = _items(_mapping(entry.get("links")).get("parts"))
    parts = {int(part["part"]): str(part["url"]) for part in links}
    return FileEntry(
        key=str(entry.get("key") or ""),
        status=str(entry.get("status") or ""),
        size=entry.get("size"),
        md5=checksum.removeprefix("md5:") if checksum.startswith("md5:") else None,
        transfer=str(transfer.get("type") or "L"),
        error=str(transfer["error"])[:SHOWN] if transfer.get("error") else None,
        parts=parts,
    )


def tombstone_of(value: Any) -> Tombstone:
    """The tombstone in a 410."""
    stone = _mapping(_mapping(value).get("tombstone"))
    reason = _mapping(stone.get("removal_reason"))
    return Tombstone(str(reason.get("id") or ""), str(stone.get("note") or ""), stone.get("removal_date"))


def complaints(value: Any) -> Iterator[str]:
    """Every complaint in `errors`: a list of fields with messages, or for files a plain string (inveniordm.md 3).

    Messages may arrive split into single characters; those are joined again. Communities complain of an id, with one
    message each (measured on v14).
    """
    errors = _mapping(value).get("errors")
    if isinstance(errors, str):
        yield errors
        return
    for entry in _items(errors):
        if not isinstance(entry, Mapping):
            yield str(entry)
            continue
        texts = [str(message) for message in _items(entry.get("messages"))] or [str(entry.get("message") or "")]
        split = len(texts) > 1 and all(len(text) <= 1 for text in texts)
        about = entry.get("field") or entry.get("community_id")
        yield f"{about}: {''.join(texts) if split else ' '.join(texts)}"


def said(value: Any, status: int) -> str:
    """A refusal in the server's own words."""
    message = str(_mapping(value).get("message") or "").strip()
    found = [*([message] if message else []), *complaints(value)]
    return (" ".join(found) or f"status {status}")[:SHOWN]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
