"""PREMIS 3 objects as text: files, the representation they make up, and the entity it represents (PREMIS 3.0, 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perdura.packages.mets_xml import escaped


@dataclass(frozen=True, slots=True)
class Format:
    """The format of a file as PREMIS wants it: a name, and the PRONOM key where it is known."""

    name: str
    version: str | None = None
    key: str | None = None
    media_type: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileObject:
    """One file of the AIP: `path` is its path in the bag, `original_name` that in the SIP, `events` event ids.

    `digests` has `sha256` and `sha512` as lower-case hex, `size` is in bytes.
    """

    id: str
    path: str
    group: str
    size: int
    digests: Mapping[str, str]
    original_name: str
    format: Format
    events: tuple[str, ...] = ()
    derived_from: str | None = None
    """Id of the file that this one was made from (a migration)."""


def file_object(file: FileObject, representation: str) -> str:
    """A file, in the prefixes `premis` and `xsi`, which whoever embeds it must have declared."""
    events = "".join(
        "<premis:linkingEventIdentifier><premis:linkingEventIdentifierType>UUID</premis:linkingEventIdentifierType>"
        f"<premis:linkingEventIdentifierValue>{event}</premis:linkingEventIdentifierValue>"
        "</premis:linkingEventIdentifier>"
        for event in file.events
    )
    return (
        '<premis:object xsi:type="premis:file" version="3.0">'
        f"{_object_identifier('UUID', file.id)}"
        "<premis:objectCharacteristics><premis:compositionLevel>0</premis:compositionLevel>"
        f"{_fixity('SHA-256', file.digests['sha256'])}{_fixity('SHA-512', file.digests['sha512'])}"
        f"<premis:size>{file.size}</premis:size>{_format(file.format)}</premis:objectCharacteristics>"
        f"<premis:originalName>{escaped(file.original_name)}</premis:originalName>"
        f"{_relationship('structural', 'is included in', representation)}{_source(file.derived_from)}{events}"
        "</premis:object>"
    )


def representation_object(identity: str, name: str, entity: str) -> str:
    """All files together, which represent the intellectual entity."""
    return (
        '<premis:object xsi:type="premis:representation" version="3.0">'
        f"{_object_identifier('UUID', identity)}<premis:originalName>{escaped(name)}</premis:originalName>"
        f"{_relationship('structural', 'represents', entity)}</premis:object>"
    )


def entity_object(
    archive: str, aip: str, record_ids: Sequence[tuple[str, str]], name: str, predecessor: str | None = None
) -> str:
    """The intellectual entity under all its names: the Archive, the AIP, the record of its source.

    `predecessor` is the AIP that this one is a new version of.
    """
    others = "".join(_object_identifier(kind, value) for kind, value in record_ids)
    return (
        '<premis:object xsi:type="premis:intellectualEntity" version="3.0">'
        f"{_object_identifier('UUID', archive)}{_object_identifier('UUID', aip)}{others}"
        f"<premis:originalName>{escaped(name)}</premis:originalName>{_source(predecessor)}</premis:object>"
    )


def _source(related: str | None) -> str:
    return _relationship("derivation", "has source", related) if related else ""


def _object_identifier(kind: str, value: str) -> str:
    return (
        f"<premis:objectIdentifier><premis:objectIdentifierType>{escaped(kind)}</premis:objectIdentifierType>"
        f"<premis:objectIdentifierValue>{escaped(value)}</premis:objectIdentifierValue></premis:objectIdentifier>"
    )


def _fixity(algorithm: str, digest: str) -> str:
    return (
        f"<premis:fixity><premis:messageDigestAlgorithm>{algorithm}</premis:messageDigestAlgorithm>"
        f"<premis:messageDigest>{digest}</premis:messageDigest></premis:fixity>"
    )


def _format(found: Format) -> str:
    version = f"<premis:formatVersion>{escaped(found.version)}</premis:formatVersion>" if found.version else ""
    registry = (
        "<premis:formatRegistry><premis:formatRegistryName>PRONOM</premis:formatRegistryName>"
        f"<premis:formatRegistryKey>{escaped(found.key)}</premis:formatRegistryKey></premis:formatRegistry>"
        if found.key
        else ""
    )
    notes = "".join(f"<premis:formatNote>{escaped(note)}</premis:formatNote>" for note in found.notes)
    return (
        f"<premis:format><premis:formatDesignation><premis:formatName>{escaped(found.name)}</premis:formatName>"
        f"{version}</premis:formatDesignation>{registry}{notes}</premis:format>"
    )


def _relationship(kind: str, subtype: str, related: str) -> str:
    return (
        f"<premis:relationship><premis:relationshipType>{kind}</premis:relationshipType>"
        f"<premis:relationshipSubType>{subtype}</premis:relationshipSubType><premis:relatedObjectIdentifier>"
        "<premis:relatedObjectIdentifierType>UUID</premis:relatedObjectIdentifierType>"
        f"<premis:relatedObjectIdentifierValue>{related}</premis:relatedObjectIdentifierValue>"
        "</premis:relatedObjectIdentifier></premis:relationship>"
    )
