"""Finds out in which encoding a text is written.

Byte order marks are believed; what is UTF-8 is UTF-8; the rest is a guess that can be overridden. A few
lines in another encoding than the rest do not change what the rest is. Knows nothing of rows.
"""

import codecs
from dataclasses import dataclass

from azubi.errors import DataError, SettingError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = ("utf-7", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
_SINGLE = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "mac_roman", "cp850", "cp437"),
    *("koi8_r", "shift_jis", "euc_jp", "euc_kr", "gb18030", "big5"),
]
_PROBE = 50_000
"""Bytes of text outside ASCII from which an encoding is guessed."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How bytes become text."""

    name: str
    sure: bool = True
    """False if it is a guess."""

    @property
    def splits(self) -> bool:
        """Whether the byte \\n ends a line and nothing else, so that lines can be decoded one by one."""
        return self.name not in _WIDE and "\n".encode(self.name) == b"\n"


def given(name: str) -> Encoding:
    """The encoding of that name.

    Raises:
        SettingError: Python knows none.
    """
    try:
        "".encode(name)
        found = codecs.lookup(name).name
    except (LookupError, ValueError, UnicodeError):
        raise SettingError(
            f"There is no encoding “{name}”.", "Common ones are utf-8, cp1252, latin-1, utf-16."
        ) from None
    return Encoding(found)


def found(sample: bytes, name: str, more: bytes = b"") -> Encoding:
    """Tell the encoding of a text from its beginning, and from whole lines of it; `name` is for messages.

    Raises:
        DataError: it is no text.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return Encoding(encoding)
    if wide := _wide(sample):
        return Encoding(wide, sure=False)
    if sample.count(0) > len(sample) // 10:
        raise DataError(
            f"{name} is not text: {sample.count(0):,} of its first {len(sample):,} bytes are zero.",
            "Save it as CSV, JSON lines, Parquet or XLSX.",
        )
    sample = sample + b"\n" + more
    # A little of something else does not change what most of it is.
    text = sample.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    if wrong <= sum(not sign.isascii() for sign in text) - wrong:
        return Encoding("utf-8")
    foreign = b"\n".join(line for line in sample.split(b"\n") if not line.isascii())
    return Encoding(_single(foreign[:_PROBE]), sure=False)


def _wide(sample: bytes) -> str:
    """UTF-16 without a mark: in European text every other byte is zero."""
    if len(sample) < 8:
        return ""
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 0.6 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.6 * half and odd < 0.05 * half else ""


def _single(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=_SINGLE, enable_fallback=False).best()
    return best.encoding if best is not None else "cp1252"
