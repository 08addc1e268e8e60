"""SIPs that bagit-create 1.5.3 wrote: each gets the verdict it deserves (cern-oais-platform.md 14, 21)."""

from __future__ import annotations

import pytest

from perdura.packages.package import Report
from perdura.packages.sources import LocalFile
from perdura.packages.verify import verify
from tests.shared_data import reference_data

ACCEPTED = {
    "cds": "algorithm-weak sip-deviation sip-size-mismatch",
    "cds-odd-856": "algorithm-weak sip-deviation sip-not-downloaded sip-size-mismatch",
    "cds-token": "algorithm-weak sip-deviation sip-size-mismatch",
    "cds-videos": "algorithm-weak",
    "codimd": "algorithm-weak",
    "codimd-gzip": "algorithm-weak",
    "gitlab": "sip-deviation sip-size-mismatch",
    "gitlab-clone-failed": "sip-deviation sip-not-downloaded sip-size-mismatch",
    "gitlab-two-pages": "sip-deviation sip-not-downloaded sip-size-mismatch",
    "indico": "algorithm-weak sip-deviation sip-size-mismatch",
    "local": "algorithm-weak",
    "recommended-profile": "name-not-portable tagmanifest-algorithms",
    "url-repository-cern": "algorithm-weak sip-deviation",
    "zenodo": "algorithm-weak",
    "zenodo-nofiles": "algorithm-weak sip-no-content",
    "zenodo-token": "algorithm-weak",
}
REFUSED = {
    "cds-light": "sip-light",
    "cod": "payload-manifest-unsupported",
    "cod-index": "payload-manifest-unsupported",
    "cod-light": "sip-light",
    "indico-404file": "checksum-mismatch",
    "local-light": "sip-light",
    "local-odd-names": "manifest-line",
    "zenodo-badsum": "sip-checksum-mismatch",
    "zenodo-light": "fetch-incomplete",
}


def judge(name: str) -> Report:
    with LocalFile(reference_data("sip-samples", "bags", f"{name}.zip")) as source:
        return verify(source)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_complete_sip_is_accepted_with_what_is_odd_about_it(name: str) -> None:
    report = judge(name)
    assert report.verdict == "warnings", report.findings
    assert set(report.counts) == set(ACCEPTED[name].split())
    assert report.facts["sip"]["source"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_or_light_sip_is_refused(name: str) -> None:
    report = judge(name)
    assert report.verdict == "invalid"
    assert REFUSED[name] in report.counts


def test_every_sample_is_judged() -> None:
    samples = {path.stem for path in reference_data("sip-samples", "bags").glob("*.zip")}
    assert samples == {*ACCEPTED, *REFUSED}


@pytest.mark.parametrize("name", ["cod", "cod-index"])
def test_adler32_only_is_still_compared(name: str) -> None:
    report = judge(name)
    assert "sip-repairable" in report.counts
    assert any("adler32" in file.checksums for file in report.files)
