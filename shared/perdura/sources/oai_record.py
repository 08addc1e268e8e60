"""One item of an OAI-PMH repository as a record to harvest: the formats that list files give the plan.

`marcxml` names files with size and checksum, `dcat` with size alone; every other format is metadata only
(harvesting.md 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from perdura.clients.addresses import path_of
from perdura.clients.http import HttpClient, UpstreamRefused
from perdura.clients.reach import DestinationRefused
from perdura.sources import marcxml, oai
from perdura.sources.catalogue import Recognised
from perdura.sources.json_values import size
from perdura.sources.markup import MARC, content
from perdura.sources.plan import Capture, Plan, Skipped, UpstreamDeleted, UpstreamFile, planned

DCAT = "{http://www.w3.org/ns/dcat#}"
RDF_RESOURCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"
DC_TITLE = "{http://purl.org/dc/elements/1.1/}title"


def plan(record: Recognised, client: HttpClient) -> Plan:
    """Get the item in every wanted format the repository has, and plan the files that one of them lists.

    Raises UpstreamRefused (`upstream-not-found`, `upstream-deleted`), UpstreamUnavailable.
    """
    endpoint = record.base_url + (record.profile.oai_path or "")
    captures: list[Capture] = []
    files: list[UpstreamFile] = []
    skipped: list[Skipped] = []
    title = revision = None
    for prefix in record.profile.oai_formats:
        try:
            root, answer = oai.request(
                client, endpoint, {"verb": "GetRecord", "metadataPrefix": prefix, "identifier": record.recid}
            )
        except oai.OaiError as error:
            if error.name == "idDoesNotExist":
                raise UpstreamRefused(f"There is no item {record.recid}.", code="upstream-not-found") from error
            if error.name == "cannotDisseminateFormat" or (error.name == "badArgument" and captures):
                continue
            raise
        captures.append(Capture.of(answer, f"metadata-{prefix}.xml"))
        header = oai.header(next(root.iter(oai.OAI + "header"), root))
        if header.deleted:
            raise UpstreamDeleted(f"The item {record.recid} was deleted.", Capture.of(answer, "tombstone.xml"))
        revision = revision or header.datestamp
        title = title or content(next(root.iter(DC_TITLE), None)) or None
        marc = next(root.iter(MARC + "record"), None)
        if marc is not None:
            title = title or marcxml.title_of(marc)
        if not files:
            files, skipped = _files(root, marc, record, client)
    if not captures:
        raise UpstreamRefused(
            f"{record.profile.name} has the item in none of the wanted formats.", code="upstream-refused"
        )
    return Plan(
        source=record.source,
        recid=record.recid,
        url=record.url,
        title=title or record.recid,
        captures=tuple(captures),
        files=planned(files),
        revision=revision,
        skipped=tuple(skipped),
    )


def _files(
    root: etree._Element, marc: etree._Element | None, record: Recognised, client: HttpClient
) -> tuple[list[UpstreamFile], list[Skipped]]:
    if marc is not None:
        return marcxml.files_of(marc, record.base_url, client)
    files, skipped = [], []
    for file in _distributions(root):
        try:
            client.reach.check(file.url)
        except DestinationRefused as refused:
            skipped.append(Skipped(file.key, file.url, refused.message))
        else:
            files.append(file)
    return files, skipped


def _distributions(root: etree._Element) -> Iterator[UpstreamFile]:
    for element in root.iter(DCAT + "Distribution"):
        download = element.find(DCAT + "downloadURL")
        url = download.get(RDF_RESOURCE) if download is not None else None
        if url:
            path = path_of(url)
            yield UpstreamFile(
                key=path.partition("/files/")[2] or path.rpartition("/")[2],
                url=url,
                size=size(content(element.find(DCAT + "byteSize"))),
                media_type=content(element.find(DCAT + "mediaType")) or None,
            )
