"""BagIt Profiles 1.3 as data: read strictly, looked up by identifier, never fetched (packages.md 1.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perdura.errors import Broken, Rejected
from perdura.settings import settings

GENERIC = "urn:perdura:bagit-profile:generic:1"
CERN_SIP = "urn:perdura:bagit-profile:cern-sip:1"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ElementRule(_Strict):
    """What is wanted of one element of bag-info.txt."""

    required: bool = False
    values: tuple[str, ...] = ()
    repeatable: bool = True
    recommended: bool = False
    description: str = ""
    help: str = ""


class ProfileInfo(BaseModel):
    """What a profile says of itself; further elements are allowed and ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    identifier: str = Field(alias="BagIt-Profile-Identifier", min_length=1, max_length=1000)
    description: str = Field(default="", alias="External-Description")
    version: str = Field(default="", alias="Version")


class Profile(_Strict):
    """One profile. A key that is not implemented makes it unreadable, so that nothing is silently unchecked."""

    info: ProfileInfo = Field(alias="BagIt-Profile-Info")
    bag_info: Mapping[str, ElementRule] = Field(default_factory=dict, alias="Bag-Info")
    manifests_required: tuple[str, ...] = Field(default=(), alias="Manifests-Required")
    manifests_allowed: tuple[str, ...] | None = Field(default=None, alias="Manifests-Allowed")
    tag_manifests_required: tuple[str, ...] = Field(default=(), alias="Tag-Manifests-Required")
    tag_manifests_allowed: tuple[str, ...] | None = Field(default=None, alias="Tag-Manifests-Allowed")
    tag_files_required: tuple[str, ...] = Field(default=(), alias="Tag-Files-Required")
    tag_files_allowed: tuple[str, ...] | None = Field(default=None, alias="Tag-Files-Allowed")
    allow_fetch: bool = Field(default=True, alias="Allow-Fetch.txt")
    serialization: Literal["forbidden", "required", "optional"] = Field(default="optional", alias="Serialization")
    accept_serialization: tuple[str, ...] = Field(default=(), alias="Accept-Serialization")
    accept_version: tuple[str, ...] = Field(alias="Accept-BagIt-Version", min_length=1)


def parse_profile(data: bytes) -> Profile:
    """A profile from its JSON; raises Rejected with everything that is wrong with it."""
    try:
        value: Any = json.loads(data)
        return Profile.model_validate(value)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()[:20])
        raise Rejected(f"not a BagIt profile that can be checked: {faults}", code="profile-malformed") from error
    except (ValueError, RecursionError) as error:
        raise Rejected("not a BagIt profile: no JSON in UTF-8", code="profile-malformed") from error


def installed() -> Mapping[str, Profile]:
    """The profiles that come with the library and those of the administrator's folder, by identifier.

    Raises Broken, naming the file, for one that cannot be checked in full or read: nothing is silently unchecked.
    """
    return _installed(settings().package_profiles)


@cache
def _installed(folder: str | None) -> Mapping[str, Profile]:
    places: list[Traversable] = [resources.files(__package__) / "profile_data"]
    if folder is not None:
        places.append(Path(folder))
    try:
        found = [_read(entry) for place in places for entry in place.iterdir() if entry.name.endswith(".json")]
    except OSError as error:
        raise Broken(f"{error.filename}: a profile cannot be read: {error.strerror}", code="profile-unknown") from error
    return {profile.info.identifier: profile for profile in sorted(found, key=lambda p: p.info.identifier)}


def _read(entry: Traversable) -> Profile:
    try:
        return parse_profile(entry.read_bytes())
    except Rejected as error:
        raise Broken(f"{entry.name}: {error.message}", code=error.code) from error


def required(identifier: str | None) -> Profile | None:
    """The profile of that identifier, None for None; raises Broken when it is not installed."""
    if identifier is None:
        return None
    try:
        return installed()[identifier]
    except KeyError:
        raise Broken(f"the profile {identifier} is required, but not installed", code="profile-unknown") from None
