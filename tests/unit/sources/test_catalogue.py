"""What a pasted text is recognised as."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdura.errors import Broken
from perdura.settings import Settings
from perdura.sources.catalogue import UnknownSource, by_id, recognise
from perdura.sources.profile import profiles

SETTINGS = Settings()
LOOPBACK = Settings(allow_loopback_upstreams=True)


@pytest.mark.parametrize(
    ("text", "source", "recid"),
    [
        ("https://zenodo.org/records/8173303", "zenodo", "8173303"),
        ("https://zenodo.org/record/8173303", "zenodo", "8173303"),
        (" https://zenodo.org/api/records/8173303 ", "zenodo", "8173303"),
        ("https://zenodo.org/records/8173303/files/a.pdf?download=1", "zenodo", "8173303"),
        ("https://doi.org/10.5281/zenodo.8173303", "zenodo", "8173303"),
        ("doi:10.5281/ZENODO.8173303", "zenodo", "8173303"),
        ("10.5281/zenodo.8173303", "zenodo", "8173303"),
        ("oai:zenodo.org:8173303", "zenodo", "8173303"),
        ("zenodo:8173303", "zenodo", "8173303"),
        ("https://repository.cern/records/abcde-12345", "cds-rdm", "abcde-12345"),
        ("https://cds.cern.ch/record/2728246?ln=en", "cds", "2728246"),
        ("https://cds.cern.ch/record/2728246/files/a.pdf", "cds", "2728246"),
        ("http://opendata.cern.ch/record/1", "cod", "1"),
        ("https://videos.cern.ch/record/9", "cds-videos", "9"),
        ("https://indico.cern.ch/event/1024767/contributions/1/", "indico", "1024767"),
        ("https://agenda.linearcollider.org/event/8217/", "ilcagenda", "8217"),
        ("https://gitlab.cern.ch/digitalmemory/bagit-create", "gitlab", "digitalmemory/bagit-create"),
        ("https://gitlab.cern.ch/group/sub/project/-/tree/main", "gitlab", "group/sub/project"),
        ("https://codimd.web.cern.ch/s/S1r2wlnUQ", "codimd", "S1r2wlnUQ"),
        ("10.17182/hepdata.1", "doi", "10.17182/hepdata.1"),
        ("file:///data/my%20set", "local", "/data/my set"),
        ("s3://perdura-incoming/sets/1", "prefix", "s3://perdura-incoming/sets/1"),
    ],
)
def test_recognised(text: str, source: str, recid: str) -> None:
    found = recognise(text, SETTINGS)
    assert (found.source, found.recid) == (source, recid)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "https://unknown.example/records/1",
        "https://zenodo.org/communities/x",
        "https://zenodo.org.evil.org/records/1",
        "https://evil@zenodo.org/records/1",
        "ftp://zenodo.org/records/1",
        "https://zenodo.org:8443/records/1",
        "http://127.0.0.1:5000/records/abc",
        "nonsense:1",
        "zenodo:abc",
        "https://zenodo.org/records/1\n2",
        "x" * 3000,
    ],
)
def test_unknown(text: str) -> None:
    with pytest.raises(UnknownSource) as caught:
        recognise(text, SETTINGS)
    assert caught.value.code == "unknown-source"


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost:5000", "[::1]:5000"])
def test_a_repository_on_this_machine(host: str) -> None:
    found = recognise(f"http://{host}/records/3kf7w-x2p61", LOOPBACK)
    assert (found.source, found.recid, found.base_url) == ("demo", "3kf7w-x2p61", f"http://{host}")
    assert by_id("demo", "x1", LOOPBACK, base_url=f"http://{host}").base_url == f"http://{host}"


def test_open_harvesting_takes_any_page() -> None:
    found = recognise("https://data.example.net/set/7", Settings(harvest_open=True))
    assert (found.source, found.recid) == ("signposting", "https://data.example.net/set/7")


def test_an_instance_is_configuration(tmp_path: Path) -> None:
    file = tmp_path / "sources.toml"
    file.write_text(
        '[[source]]\nid = "rogue"\nname = "Rogue"\nprotocol = "inveniordm"\nbase_url = "https://rogue-scholar.org/"\n'
        "landing = ['/records/(?P<recid>[a-z0-9-]+)']\n"
    )
    found = recognise("https://rogue-scholar.org/records/23y6y-vh985", Settings(harvest_profiles=str(file)))
    assert (found.source, found.base_url) == ("rogue", "https://rogue-scholar.org")


@pytest.mark.parametrize(
    "text", ["[[source]]\nid = 'x'\n", "not toml [", "[[source]]\nid='a'\nname='a'\nprotocol='smtp'\n"]
)
def test_a_wrong_configuration_is_the_operators(tmp_path: Path, text: str) -> None:
    file = tmp_path / "sources.toml"
    file.write_text(text)
    with pytest.raises(Broken):
        profiles(Settings(harvest_profiles=str(file)))


def test_every_profile_has_an_id_of_its_own_and_short_enough_for_cern() -> None:
    known = profiles(SETTINGS)
    assert all(len(name) <= 50 for name in known)
    assert {"zenodo", "cds", "ilcdoc", "cds-videos", "cod", "indico", "ilcagenda", "gitlab", "codimd"} <= set(known)
