"""Text of tag files: which encodings there are, and lines cut where RFC 8493 cuts them (packages.md M1, M10)."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

_NAMES = {
    "utf-8": ("utf-8", "utf8"),
    "ascii": ("us-ascii", "ascii", "iso646-us", "ansi_x3.4-1968"),
    "utf-16": ("utf-16",),
    "utf-16-le": ("utf-16le",),
    "utf-16-be": ("utf-16be",),
    "utf-32": ("utf-32",),
    "utf-32-le": ("utf-32le",),
    "utf-32-be": ("utf-32be",),
    "shift_jis": ("shift_jis", "ms_kanji", "csshiftjis"),
    "euc_jp": ("euc-jp", "cseucpkdfmtjapanese"),
    "euc_kr": ("euc-kr", "cseuckr"),
    "big5": ("big5", "csbig5"),
    "gb18030": ("gb18030",),
    "koi8_r": ("koi8-r", "cskoi8r"),
    **{f"iso8859-{part}": (f"iso-8859-{part}", f"iso_8859-{part}") for part in (*range(1, 12), *range(13, 17))},
    **{f"cp{page}": (f"windows-{page}",) for page in range(1250, 1259)},
}
_CODECS = {alias: codec for codec, aliases in _NAMES.items() for alias in aliases} | {
    "latin1": "iso8859-1",
    "l1": "iso8859-1",
}


_PIECE = 2**19
"""Bytes decoded at once: the lines of so much text are in memory together."""


class TagTextError(Exception):
    """The text of a tag file is not what it should be; `code` names the rule."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


def codec_of(encoding: str) -> str | None:
    """The Python codec of a declared character set, or None: never ask Python's registry with a stranger's name."""
    return _CODECS.get(encoding.lower())


def text_blocks(chunks: Iterable[bytes | memoryview], codec: str, line_limit: int) -> Iterator[str]:
    """The text in blocks of whole lines, each line (but maybe the very last) ended by LF alone.

    Lines end at LF, CR and CRLF and at nothing else. Raises TagTextError: wrong bytes, a byte-order mark, a line
    of more than `line_limit` bytes.
    """
    decoder = codecs.getincrementaldecoder(codec)("strict")
    rest = ""
    first = True
    for chunk in _with_end(chunks):
        try:
            text = decoder.decode(bytes(chunk or b""), final=chunk is None)
        except UnicodeError as error:
            raise TagTextError("tag-file-encoding", codec) from error
        if first and text:
            if text[0] == "\ufeff":
                raise TagTextError("tag-file-bom")
            first = False
        text = rest + text
        held = "\r" if text.endswith("\r") and chunk is not None else ""
        if held:
            text = text[:-1]
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        cut = text.rfind("\n") + 1 if chunk is not None else len(text)
        block, rest = text[:cut], text[cut:] + held
        _check_lines(block, line_limit)
        if len(rest) > line_limit:
            raise TagTextError("limit-line", f"{line_limit} bytes are accepted")
        if block:
            yield block


def _with_end(chunks: Iterable[bytes | memoryview]) -> Iterator[memoryview | None]:
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]
    yield None


def _check_lines(block: str, limit: int) -> None:
    """Lines are measured only where a block could hold one that is too long."""
    start = 0
    while len(block) - start > limit // 4:
        end = block.find("\n", start)
        end = len(block) if end < 0 else end
        if end - start > limit // 4 and len(block[start:end].encode("utf-8", "surrogatepass")) > limit:
            raise TagTextError("limit-line", f"{limit} bytes are accepted")
        start = end + 1


def lines(chunks: Iterable[bytes | memoryview], codec: str, line_limit: int) -> Iterator[str]:
    """The lines without their ends; the end of the last line is optional."""
    for block in text_blocks(chunks, codec, line_limit):
        yield from (block[:-1] if block.endswith("\n") else block).split("\n")
