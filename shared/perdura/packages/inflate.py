"""Deflate, by an accelerated implementation where there is one."""

from __future__ import annotations

import zlib
from typing import Any

_accelerated: Any
try:
    from isal import isal_zlib as _accelerated
except ImportError:
    _accelerated = zlib

INFLATE_ERRORS: tuple[type[Exception], ...] = (zlib.error, _accelerated.error)
"""What a damaged stream raises."""


def new_inflater() -> Any:
    """A `zlib.decompressobj` for raw deflate: `decompress(data, max_length)`, `eof`, `unconsumed_tail` …"""
    return _accelerated.decompressobj(wbits=-15)
