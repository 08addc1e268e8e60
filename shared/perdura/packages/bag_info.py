"""Bag metadata `bag-info.txt` and its Payload-Oxum (RFC 8493 2.2.2, packages.md M11, M12)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from perdura.packages.findings import Findings
from perdura.packages.limits import Limits
from perdura.packages.tag_text import TagTextError, lines

_NAME = "bag-info.txt"
_OXUM = re.compile(r"([0-9]{1,20})\.([0-9]{1,20})")
_ONCE = frozenset({"bagging-date", "bag-size", "bag-group-identifier", "bag-count"})

Elements = Sequence[tuple[str, str]]
"""Labels as spelled and values, in order, repeats kept."""


def read_bag_info(
    chunks: Iterable[bytes | memoryview], codec: str, *, strict: bool, findings: Findings, limits: Limits
) -> Elements:
    """Parse the elements; note every fault. `strict`: white space as version 1.0 wants it."""
    elements: list[tuple[str, list[str]]] = []
    blank = False
    try:
        for line in lines(chunks, codec, limits.tag_file):
            if not line.strip(" \t"):
                blank = blank or bool(elements) or not line
                continue
            if line[0] in " \t":
                if elements:
                    elements[-1][1].append(line.strip(" \t"))
                else:
                    findings.add("bag-info-line", _NAME, "a continuation of nothing")
                continue
            _element(line, elements, strict=strict, findings=findings)
            if len(elements) > limits.bag_info_elements:
                findings.add("limit-bag-info-elements", _NAME, f"{limits.bag_info_elements} are accepted")
                break
    except TagTextError as error:
        findings.add(error.code, _NAME, error.detail)
    if blank:
        findings.add("blank-line", _NAME)
    result = [(label, " ".join(parts)) for label, parts in elements]
    labels = [label.lower() for label, _ in result]
    for label in sorted(_ONCE):
        if labels.count(label) > 1:
            findings.add("bag-info-repeated", _NAME, label)
    for number, (label, value) in enumerate(result):
        if len(value.encode("utf-8", "surrogatepass")) > limits.bag_info_value:
            findings.add("limit-bag-info-value", _NAME, label[:80])
            result[number] = (label, value.encode()[: limits.bag_info_value].decode("utf-8", "ignore"))
    return result


def _element(line: str, elements: list[tuple[str, list[str]]], *, strict: bool, findings: Findings) -> None:
    label, colon, value = line.partition(":")
    if not colon:
        findings.add("bag-info-line", _NAME, "no colon", found=line)
        return
    if strict:
        if not label or label != label.strip():
            findings.add("bag-info-label", _NAME, found=label)
        if value[:1] in (" ", "\t"):
            value = value[1:]
            if value[:1] in (" ", "\t"):
                findings.add("bag-info-space", _NAME, label[:80])
        elif value:
            findings.add("bag-info-space", _NAME, label[:80])
    else:
        label, value = label.strip(), value.strip()
        if not label:
            findings.add("bag-info-label", _NAME)
    elements.append((label, [value]))


def values(elements: Elements, label: str) -> list[str]:
    """All values of a label; reserved labels are case-insensitive."""
    wanted = label.lower()
    return [value for candidate, value in elements if candidate.lower() == wanted]


def check_oxum(elements: Elements, octets: int, streams: int, findings: Findings) -> tuple[int, int] | None:
    """Compare Payload-Oxum, if given, with the payload there is; gives what it says."""
    given = values(elements, "Payload-Oxum")
    if len(given) > 1:
        findings.add("oxum-repeated", _NAME)
    if not given:
        return None
    found = _OXUM.fullmatch(given[0].strip(" \t"))
    if found is None:
        findings.add("oxum-malformed", _NAME, found=given[0])
        return None
    oxum = int(found[1]), int(found[2])
    if oxum != (octets, streams):
        findings.add("oxum-mismatch", _NAME, expected=f"{oxum[0]}.{oxum[1]}", found=f"{octets}.{streams}")
    return oxum
