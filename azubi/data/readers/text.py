"""Text lines out of bytes: finds the encoding, and yields one line at a time, none longer than the limit.

Byte order marks are believed; what is UTF-8 is UTF-8. The rest is a guess that can be overridden: of all
encodings the one in which the letters outside ASCII belong to one language and stand where letters stand. A
line that cannot be decoded comes with the reason; the next ones are not affected. Knows nothing of rows.
"""

# ruff: noqa: RUF001 (the letters are meant)

import codecs
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from azubi.data.language import detect_language
from azubi.data.readers.opening import BLOCK
from azubi.data.readers.row import EMPTY, LONGEST_RAW, LONGEST_ROW, Rejected, Row, shortened
from azubi.errors import DataError, SettingError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = ("utf-7", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
_SINGLE = (
    *("cp1252", "iso8859-15", "cp1250", "iso8859-2", "cp1254", "cp1257", "cp1251", "koi8-r", "cp1253"),
    *("mac-roman", "cp850", "cp437", "cp852", "cp866"),
)
"""Likely ones first: they win where two read a text in the same way."""
_ASIAN = ["shift_jis", "euc_jp", "euc_kr", "gb18030", "big5"]
_ALPHABETS = {
    "de": "äöüß", "fr": "àâæçéèêëîïôœùûüÿ", "nl": "éëïóöüèê", "it": "àèéìòù", "es": "áéíñóúü",
    "pt": "ãáâàçéêíóôõúü", "da": "æøåé", "sv": "åäöé", "is": "áðéíóúýþæö", "pl": "ąćęłńóśźż",
    "cs": "áčďéěíňóřšťúůýž", "sk": "áäčďéíĺľňóôŕšťúýž", "hr": "čćđšž", "hu": "áéíóöőúüű", "ro": "ăâîșțşţ",
    "tr": "çğıöşüâîi", "et": "äõöüšž", "lv": "āčēģīķļņšūž", "lt": "ąčęėįšųūž",
    "ru": "абвгдежзийклмнопрстуфхцчшщъыьэюяё", "el": "αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώϊϋ",
}  # fmt: skip
_ANY = frozenset("áàâäãåæçéèêëíìîïñóòôöõøœúùûüýßšž")
"""Letters that words and names from elsewhere bring into any language."""
_OPENING, _CLOSING = "„‚«»“‘¿¡§€–—…·£#", "“”’»«…–—™®©°²³€§ªº·‰"
_SIGNS = frozenset(_OPENING + _CLOSING + "\xa0•½¼¾±×µ†")
_WITHIN = "’´·\xad–"
"""Signs that stand between letters."""
PROBE = 50_000
"""Bytes of text outside ASCII from which an encoding is guessed."""
_CLEAR = 0.8
"""Share of its characters that a European text has in their places."""
_LARGEST_WHOLE = 10**9
"""Bytes of a JSON list, which is held as a whole."""
_BETWEEN = re.compile(r"(?=(.?)([^\x00-\x7f])(.?))", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]*[^\W\d_a-zA-Z][^\W\d_]*")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How bytes become text."""

    name: str
    sure: bool = True
    """False if it is a guess."""
    language: str = ""
    """Of a guess: the language whose letters it gives; empty if none decided."""
    example: str = ""
    """Of a guess: a word that is read in this way."""

    @property
    def splits(self) -> bool:
        """Whether the byte \\n ends a line and nothing else, so that lines can be decoded one by one."""
        return self.name not in _WIDE and "\n".encode(self.name) == b"\n"

    def notice(self, name: str) -> str:
        """What to say about a guess; empty if it is none."""
        if self.sure:
            return ""
        example = f", such as “{self.example}”" if self.example else ""
        return (
            f"{name} is not UTF-8 and was read as {self.name}{example}, which is a guess; "
            "--encoding says otherwise."
        )

    def fits(self, text: str) -> bool:
        """Whether a text that was decoded with this guess has letters where letters are expected."""
        characters = _characters(text)
        return not self.language or 2 * _score(characters, self.language) >= 10 * characters.total()


def named_encoding(name: str) -> Encoding:
    """The encoding of that name.

    Raises:
        SettingError: Python knows none.
    """
    if codec := codec_name(name):
        return Encoding(codec)
    raise SettingError(f"There is no encoding “{name}”.", "Common ones are utf-8, cp1252, latin-1, utf-16.")


def codec_name(name: str) -> str:
    """What Python calls an encoding; empty if it knows none of that name."""
    try:
        "".encode(name)
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        return ""


def certain_encoding(sample: bytes, name: str, more: bytes = b"") -> Encoding | None:
    """The encoding that the bytes themselves show; None if it has to be guessed.

    `sample` is the beginning of a text, `more` whole lines from further on, `name` is for messages.

    Raises:
        DataError: it is no text.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return Encoding(encoding)
    if wide := _wide(sample):
        return Encoding(wide, sure=False, example=sample_word(sample.decode(wide, "ignore")))
    if sample.count(0) > len(sample) // 10:
        raise DataError(
            f"{name} is not text: {sample.count(0):,} of its first {len(sample):,} bytes are zero.",
            "Save it as CSV, JSON lines, Parquet or XLSX.",
        )
    # A little of something else does not change what most of it is.
    text = (sample + b"\n" + more).decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    return Encoding("utf-8") if wrong <= sum(not sign.isascii() for sign in text) - wrong else None


def _wide(sample: bytes) -> str:
    """UTF-16 without a mark: in European text every other byte is zero."""
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if half >= 4 and odd > 0.6 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if half >= 4 and even > 0.6 * half and odd < 0.05 * half else ""


def is_utf8(sample: bytes) -> bool:
    """Whether it is UTF-8 and more than ASCII, which text in another encoding never is by chance."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(sample)  # its end may be cut off
    except UnicodeDecodeError:
        return False
    return not text.isascii() and "\0" not in text


def non_ascii_lines(data: bytes, most: int = PROBE) -> bytes:
    """The lines that hold more than ASCII: all that a guess can go by."""
    return b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:most]


def guess_encoding(sample: bytes) -> Encoding:
    """The encoding in which text, which is not UTF-8, makes most sense."""
    sample = non_ascii_lines(sample)
    likely, _ = detect_language(sample.decode("ascii", "ignore"))
    best, name, code, total = -1.0, "cp1252", "", 1
    for encoding in _SINGLE:
        characters = _characters(sample.decode(encoding, "replace"))
        for alphabet in _ALPHABETS:
            if (score := _score(characters, alphabet) * (1.1 if alphabet == likely else 1)) > best:
                best, name, code, total = score, encoding, alphabet, characters.total()
    if best < 10 * _CLEAR * total:
        from charset_normalizer import from_bytes

        asian = from_bytes(sample, cp_isolation=_ASIAN, enable_fallback=False).best()
        if asian is not None:
            name, code = asian.encoding, ""
    return Encoding(name, False, code, sample_word(sample.decode(name, "replace")))


def sample_word(text: str) -> str:
    """A word outside ASCII, which shows how a text was decoded; empty if there is none."""
    word = _WORD.search(text) or re.search(r"\S*[^\x00-\x7f]\S*", text)
    return word[0][:40] if word else ""


def _characters(text: str) -> Counter[tuple[str, str, str]]:
    """Each character outside ASCII between its neighbours."""
    return Counter((match[1], match[2], match[3]) for match in _BETWEEN.finditer(text))


def _score(characters: Counter[tuple[str, str, str]], language: str) -> int:
    """What speaks for a language: 10 for each of its letters and each sign, in its place."""
    alphabet = _ALPHABETS[language]
    return sum(count * _weight(*between, alphabet) for between, count in characters.items())


def _weight(before: str, character: str, after: str, alphabet: str) -> int:
    if not character.isalpha():
        if before.isalpha() and after.isalpha():
            return 10 if character in _WITHIN else 0
        opens = not before.isalpha() or character in _CLOSING
        closes = not after.isalpha() or character in _OPENING
        return 10 if character in _SIGNS and opens and closes else 0
    mixed = any(other.isalpha() and _is_latin(other) != _is_latin(character) for other in (before, after))
    if mixed or (character.isupper() and before.islower()):
        return 0
    small = character.lower()[:1]
    weight = 10 if small in alphabet else 5 if small in _ANY else 0
    return weight - (weight > 0 and character.isupper())


def _is_latin(character: str) -> bool:
    return character < "\u0250" or "\u1e00" <= character < "\u1f00"


class Line(NamedTuple):
    """One line with what ends it."""

    number: int
    text: str
    """With replacement characters where there is a fault; only the beginning if it is too long."""
    fault: str = ""
    """Why it cannot be used; empty if it can."""
    whole: bool = True
    """False if it was too long to be kept."""


class Text:
    """The lines of a text."""

    def __init__(
        self, file: io.BufferedReader, name: str, encoding: str | None = None, more: bytes = b""
    ) -> None:
        """Find out the encoding, unless it is given; `more` is text from further on.

        Raises:
            SettingError: Python knows no such encoding.
            DataError: it is not text, or there is none.
        """
        self.name = name
        self.sample = file.peek(BLOCK)[:BLOCK]
        if not self.sample.strip(b"\0 \t\r\n\xef\xbb\xbf\xff\xfe"):
            raise DataError(f"{name} is empty.", "Bring a file with one example per line or row.")
        known = named_encoding(encoding) if encoding else None
        if known and is_utf8(self.sample) and not known.name.startswith("utf-8"):
            known = Encoding("utf-8")
            word = sample_word(self.sample.decode(errors="ignore"))
            self.notice = f"{name} is UTF-8 and was read so (“{word}”), though --encoding says {encoding}."
            """What there is to say about how it is decoded."""
        else:
            known = (
                known
                or certain_encoding(self.sample, name, more)
                or guess_encoding(self.sample + b"\n" + more)
            )
            self.notice = known.notice(name)
        self.encoding = known
        self._decoding = known.name
        if not known.splits:
            self._decoding = "utf-8"
            decoder = codecs.getincrementaldecoder(known.name)()
            file = io.BufferedReader(_Recoded(file, decoder, name), BLOCK)
        start = file.peek(BLOCK)
        self._file = (
            io.BufferedReader(_OldLines(file), BLOCK) if b"\r" in start and b"\n" not in start else file
        )

    def head(self, lines: int) -> list[str]:
        """The first lines, by which a format is recognised; what is read later begins with them, too."""
        start = self._file.peek(BLOCK)[:BLOCK]
        parts = start.split(b"\n")
        if len(parts) > 1 and len(start) >= BLOCK // 2:
            parts.pop()  # cut off
        return [part.decode(self._decoding, "replace").removeprefix("\ufeff") for part in parts[:lines]]

    def whole(self) -> str:
        """All of the text; bytes that cannot be decoded are lone surrogates.

        Raises:
            DataError: it is too large to be held.
        """
        data = self._file.read(_LARGEST_WHOLE + 1)
        if len(data) > _LARGEST_WHOLE:
            raise DataError(
                f"{self.name} is one list of more than {_LARGEST_WHOLE:,} bytes.", "Write it as JSON lines."
            )
        return data.decode(self._decoding, "surrogateescape").removeprefix("\ufeff")

    def __iter__(self) -> Iterator[Line]:
        """Each line, also the empty ones. Only \\n ends one: not U+2028 and its like."""
        number = 0
        while line := self._file.readline(LONGEST_ROW + 1):
            number += 1
            if number == 1 and self._decoding == "utf-8":
                line = line.removeprefix(codecs.BOM_UTF8)
            yield self._too_long(number, line) if len(line) > LONGEST_ROW else self._decoded(number, line)

    def as_rows(self, parse: Callable[[Line], Row | Rejected]) -> Iterator[Row | Rejected]:
        """A row per line; lines with a fault and blank ones are rejected before they are parsed."""
        for line in self:
            if line.fault:
                yield Rejected(line.number, line.fault, shortened(line.text))
            else:
                yield parse(line) if line.text.strip() else Rejected(line.number, EMPTY)

    def _decoded(self, number: int, line: bytes) -> Line:
        try:
            text = line.decode(self._decoding)
        except UnicodeDecodeError as error:
            byte = f"byte 0x{line[error.start]:02x}"
            fault = f"{byte} is not {self.encoding.name.upper()} text ({error.reason})"
            return Line(number, line.decode(self._decoding, "replace"), fault)
        return Line(number, text, "holds a NUL character, which no text has" if "\0" in text else "")

    def _too_long(self, number: int, line: bytes) -> Line:
        start, size = line[: 4 * LONGEST_RAW], len(line)
        while not line.endswith(b"\n") and (line := self._file.readline(BLOCK)):
            size += len(line)
        text = start.decode(self._decoding, "replace")
        return Line(number, text, f"has {size:,} bytes, more than {LONGEST_ROW:,}", whole=False)


class _Recoded(io.RawIOBase):
    """Another encoding as UTF-8."""

    def __init__(self, file: io.BufferedReader, decoder: codecs.IncrementalDecoder, name: str) -> None:
        self._file = file
        self._decoder = decoder
        self._name = name
        self._ready = b""
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        block = b"more"
        while block and not self._ready:
            block = self._file.read(BLOCK // 4)
            try:
                self._ready = self._decoder.decode(block, final=not block).encode(errors="replace")
            except UnicodeError as error:
                reason = getattr(error, "reason", "") or str(error)
                raise DataError(
                    f"{self._name} cannot be decoded behind byte {self._size:,}: {reason}.",
                    "Name its encoding with --encoding, or save it as UTF-8.",
                ) from error
            self._size += len(block)
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


class _OldLines(io.RawIOBase):
    """Lines that end with \\r alone, as Excel for the Mac can write them, with \\n."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        block = self._file.read1(len(target)).replace(b"\r", b"\n")
        target[: len(block)] = block
        return len(block)
