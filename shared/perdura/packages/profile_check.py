"""A bag against its profile, and against the layout of CERN's SIPs when it is one."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from perdura.packages.bag import Bag, small_file
from perdura.packages.bag_info import values
from perdura.packages.manifests import manifest_kind
from perdura.packages.sip import SIP_JSON, Sip, read_sip

if TYPE_CHECKING:
    from perdura.packages.profiles import Profile

_ALWAYS_ALLOWED = frozenset({"bagit.txt", "bag-info.txt", "fetch.txt"})
_MEDIA_TYPES = {
    "zip": {"application/zip", "application/x-zip-compressed"},
    "tar": {"application/tar", "application/x-tar"},
    "tar.gz": {"application/gzip", "application/x-gzip", "application/tar+gzip", "application/x-gtar"},
}


def check_profiles(bag: Bag, required: Profile | None) -> Sip | None:
    """Check the profile required, else the one the bag names, else the one its layout shows.

    Gives the description of a CERN SIP, for what can only be judged with the digests.
    """
    named = values(bag.elements, "BagIt-Profile-Identifier")
    is_sip = SIP_JSON in bag.layout.index
    if required is None and not named and not is_sip:
        return None
    # Imported only for bags that have a profile: the models cost start-up time.
    from perdura.packages import profiles

    profile = required
    if required is not None:
        for identifier in named:
            if identifier != required.info.identifier:
                bag.findings.add("profile-identifier", "bag-info.txt", found=identifier)
    else:
        for identifier in named:
            profile = profiles.installed().get(identifier, profile)
            if identifier not in profiles.installed():
                bag.findings.add("profile-unknown", "bag-info.txt", found=identifier)
                bag.unchecked.append(identifier)
        if profile is None and is_sip:
            profile = profiles.installed()[profiles.CERN_SIP]
    if profile is not None:
        bag.profile = profile.info.identifier
        check_profile(bag, profile)
        if profile.info.identifier == profiles.CERN_SIP and not is_sip:
            bag.findings.add("sip-json-missing", SIP_JSON)
    if not is_sip:
        return None
    data = small_file(bag, SIP_JSON, bag.limits.sip_json, "sip-json-not-read")
    return None if data is None else read_sip(data, bag)


def check_profile(bag: Bag, profile: Profile) -> None:
    """Note every demand of the profile that the bag does not meet."""
    _check_bag_info(bag, profile)
    algorithms = (
        (False, "manifest", profile.manifests_required, profile.manifests_allowed),
        (True, "tagmanifest", profile.tag_manifests_required, profile.tag_manifests_allowed),
    )
    present = [kind for path in bag.layout.index if (kind := manifest_kind(path)) is not None]
    for is_tag, word, required, allowed in algorithms:
        there = {algorithm for tag, algorithm in present if tag == is_tag}
        for algorithm in sorted(set(required) - there):
            bag.findings.add(f"profile-{word}-required", f"{word}-{algorithm}.txt")
        if allowed is not None:
            for algorithm in sorted(there - set(allowed)):
                bag.findings.add(f"profile-{word}-allowed", f"{word}-{algorithm}.txt")
    tags = [path for path in bag.layout.index if not path.startswith("data/")]
    for name in profile.tag_files_required:
        if name not in bag.layout.index:
            bag.findings.add("profile-tag-file-required", name)
    if profile.tag_files_allowed is not None:
        for path in tags:
            if (
                path not in _ALWAYS_ALLOWED
                and manifest_kind(path) is None
                and not _matches(path, profile.tag_files_allowed)
            ):
                bag.findings.add("profile-tag-file-allowed", path)
    if not profile.allow_fetch and "fetch.txt" in bag.layout.index:
        bag.findings.add("profile-fetch", "fetch.txt")
    version = ".".join(str(part) for part in bag.declaration.version)
    if version not in profile.accept_version:
        bag.findings.add("profile-version", "bagit.txt", found=version, expected=", ".join(profile.accept_version))
    _check_serialization(bag, profile)


def _check_bag_info(bag: Bag, profile: Profile) -> None:
    add: Callable[..., None] = bag.findings.add
    for label, rule in profile.bag_info.items():
        found = values(bag.elements, label)
        if not found and rule.required:
            add("profile-bag-info-required", "bag-info.txt", label)
        elif not found and rule.recommended:
            add("profile-bag-info-recommended", "bag-info.txt", label)
        if len(found) > 1 and not rule.repeatable:
            add("profile-bag-info-repeated", "bag-info.txt", label)
        if rule.values:
            for value in found:
                if value not in rule.values:
                    add("profile-bag-info-value", "bag-info.txt", label, expected=", ".join(rule.values), found=value)


def _check_serialization(bag: Bag, profile: Profile) -> None:
    types = _MEDIA_TYPES.get(bag.container.kind)
    if types is None:
        if profile.serialization == "required":
            bag.findings.add("profile-serialization", detail="an archive is required")
    elif profile.serialization == "forbidden":
        bag.findings.add("profile-serialization", detail="archives are not accepted")
    elif profile.accept_serialization and not types.intersection(profile.accept_serialization):
        bag.findings.add("profile-serialization", detail=f"{bag.container.kind} is not accepted")


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
