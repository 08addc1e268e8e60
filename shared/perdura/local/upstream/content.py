"""The demo's files, generated: the same bytes on every machine, without a binary in the repository."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType


def _tide(hour: int) -> float:
    """Height of the tide in metres at an hour: the sum of the two main lunar and solar constituents."""
    lunar = 1.12 * math.cos(2 * math.pi * hour / 12.4206)
    solar = 0.41 * math.cos(2 * math.pi * hour / 12.0 - 0.6)
    return round(2.5 + lunar + solar, 3)


def tide_table() -> bytes:
    """A CSV table of 720 hourly readings."""
    rows = [f"{hour},{_tide(hour):.3f},{'measured' if hour % 97 else 'interpolated'}" for hour in range(720)]
    return "\n".join(["hour,height_m,quality", *rows, ""]).encode()


def tide_table_corrected() -> bytes:
    """The same table after a correction of 3 cm: the file of the record's second version."""
    rows = [f"{hour},{_tide(hour) + 0.03:.3f},corrected" for hour in range(720)]
    return "\n".join(["hour,height_m,quality", *rows, ""]).encode()


def station() -> bytes:
    """A JSON description of the gauge."""
    value = {
        "station": "Étretat, jetty",
        "gauge": {"type": "radar", "resolution_m": 0.001, "zero_below_chart_datum_m": 0.42},
        "position": {"latitude": 49.7075, "longitude": 0.2009},
        "constituents": [{"name": "M2", "period_h": 12.4206}, {"name": "S2", "period_h": 12.0}],
    }
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def readme() -> bytes:
    """A text file that explains the others."""
    return (
        b"Tide gauge readings of one month, one row an hour.\n\n"
        b"hour      hours since the first reading\n"
        b"height_m  height above chart datum in metres\n"
        b"quality   measured, interpolated or corrected\n"
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tide_plot() -> bytes:
    """A grey PNG of 240 × 80 pixels: the readings as a curve (PNG 1.2, stored without compression)."""
    width, height = 240, 80
    rows = []
    for y in range(height):
        row = bytes(0 if abs(_tide(x * 3) * 18 - (height - y) + 4) < 1.5 else 235 for x in range(width))
        rows.append(b"\x00" + row)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    # Level 0 stores: the bytes must not depend on the version of zlib.
    data = zlib.compress(b"".join(rows), 0)
    return b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", data) + _png_chunk(b"IEND", b"")


def report() -> bytes:
    """A PDF 1.4 of one page of text."""
    lines = ["Tides at Etretat: report on one month of readings", "Two constituents explain 97 % of the variance."]
    moves = " ".join(f"({line}) Tj 0 -18 Td" for line in lines)
    stream = f"BT /F1 12 Tf 72 760 Td {moves} ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length " + str(len(stream)).encode() + b" >>\nstream\n" + stream + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    out += f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)


def noise() -> bytes:
    """One MiB of a fixed pseudo-random sequence (a linear congruential generator)."""
    state, out = 20261124, bytearray()
    while len(out) < 2**20:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out += state.to_bytes(8, "little")
    return bytes(out)


CONTENT: Mapping[str, Callable[[], bytes]] = MappingProxyType(
    {
        "tide_table": tide_table,
        "tide_table_corrected": tide_table_corrected,
        "station": station,
        "readme": readme,
        "tide_plot": tide_plot,
        "report": report,
        "noise": noise,
    }
)
"""Generators by the name that `records.json` uses."""
