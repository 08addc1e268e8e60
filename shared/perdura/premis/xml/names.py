"""Namespaces of PREMIS and of what surrounds it (premis.md 2.1)."""

from __future__ import annotations

V1_0 = "http://www.loc.gov/standards/premis"
V1_1 = "http://www.loc.gov/standards/premis/v1"
V2 = "info:lc/xmlns/premis-v2"
V3 = "http://www.loc.gov/premis/v3"
_V2_IN_THE_WILD = "http://www.loc.gov/premis/v2"

NAMESPACES = {V1_0: "1.0", V1_1: "1.1", V2: "2.3", _V2_IN_THE_WILD: "2.3", V3: "3.0"}
"""Namespaces that are read, with the version each stands for."""

WRITTEN = {"2.3": V2, "3.0": V3}
"""Versions that are written, with their namespaces."""

ATOM = "http://www.w3.org/2005/Atom"
APP = "http://www.w3.org/2007/app"
OPENSEARCH = "http://a9.com/-/spec/opensearch/1.1/"
XLINK = "http://www.w3.org/1999/xlink"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
