"""The official schemas of PREMIS, without the network."""

from __future__ import annotations

from functools import cache

from lxml import etree

from tests.shared_data import reference_data


class _Local(etree.Resolver):
    def resolve(self, url: str, _id: str, context: object) -> object:
        if url.endswith("xlink.xsd"):
            return self.resolve_filename(str(reference_data("premis", "xsd", "xlink.xsd")), context)
        return None


@cache
def schema(version: str) -> etree.XMLSchema:
    """The schema of PREMIS 2.3 or 3.0; skips the test where it is not here."""
    parser = etree.XMLParser()
    parser.resolvers.add(_Local())
    path = reference_data("premis", "xsd", f"premis-v{version.replace('.', '-')}.xsd")
    return etree.XMLSchema(etree.parse(str(path), parser))


def assert_valid(element: etree._Element) -> None:
    """The element is valid in the version of its namespace."""
    version = "3.0" if etree.QName(element).namespace == "http://www.loc.gov/premis/v3" else "2.3"
    alone = etree.fromstring(etree.tostring(element, with_tail=False))
    validator = schema(version)
    assert validator.validate(alone), f"{validator.error_log}\n{etree.tostring(alone).decode()}"
