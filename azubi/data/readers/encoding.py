"""Finds out in which encoding a text is written.

Byte order marks are believed; what is UTF-8 is UTF-8. The rest is a guess that can be overridden: of all
encodings the one in which the letters outside ASCII are those of one language, and stand where letters stand.
A few lines in another encoding than the rest do not change what the rest is. Knows nothing of rows.
"""

# ruff: noqa: RUF001 (the letters are meant)

import codecs
import re
from collections import Counter
from dataclasses import dataclass

from azubi.data.language import language
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
_PLACE = re.compile(r"(?=(.?)([^\x00-\x7f])(.?))", re.DOTALL)
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
        example = f", such as “{self.example}”" if self.example else ""
        if self.sure:
            return ""
        return (
            f"{name} is not UTF-8 and was read as {self.name}{example}, which is a guess; "
            "--encoding says otherwise."
        )

    def fits(self, text: str) -> bool:
        """Whether a text that was decoded with this guess has letters where letters are expected."""
        characters = _characters(text)
        return not self.language or 2 * _score(characters, self.language) >= 10 * characters.total()


def given(name: str) -> Encoding:
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
    except (LookupError, ValueError, UnicodeError):
        return ""


def found(sample: bytes, name: str, more: bytes = b"") -> Encoding:
    """Tell the encoding of a text from its beginning, and from whole lines of it; `name` is for messages.

    Raises:
        DataError: it is no text.
    """
    return evident(sample, name, more) or guessed(sample + b"\n" + more)


def evident(sample: bytes, name: str, more: bytes = b"") -> Encoding | None:
    """The encoding that the bytes themselves show; None if it has to be guessed. See `found`."""
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return Encoding(encoding)
    if wide := _wide(sample):
        return Encoding(wide, sure=False, example=example(sample.decode(wide, "ignore")))
    if sample.count(0) > len(sample) // 10:
        raise DataError(
            f"{name} is not text: {sample.count(0):,} of its first {len(sample):,} bytes are zero.",
            "Save it as CSV, JSON lines, Parquet or XLSX.",
        )
    # A little of something else does not change what most of it is.
    text = (sample + b"\n" + more).decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    return Encoding("utf-8") if wrong <= sum(not sign.isascii() for sign in text) - wrong else None


def is_utf8(sample: bytes) -> bool:
    """Whether it is UTF-8 and more than ASCII, which text in another encoding never is by chance."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(sample)  # its end may be cut off
    except UnicodeDecodeError:
        return False
    return not text.isascii() and "\0" not in text


def foreign(data: bytes, most: int = PROBE) -> bytes:
    """The lines that hold more than ASCII: all that a guess can go by."""
    return b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:most]


def guessed(sample: bytes) -> Encoding:
    """The encoding in which text, which is not UTF-8, makes most sense."""
    sample = foreign(sample)
    likely, _ = language(sample.decode("ascii", "ignore"))
    best, name, code, total = -1.0, "cp1252", "", 1
    for encoding in _SINGLE:
        characters = _characters(sample.decode(encoding, "replace"))
        for each in _ALPHABETS:
            if (score := _score(characters, each) * (1.1 if each == likely else 1)) > best:
                best, name, code, total = score, encoding, each, characters.total()
    if best < 10 * _CLEAR * total:
        from charset_normalizer import from_bytes

        asian = from_bytes(sample, cp_isolation=_ASIAN, enable_fallback=False).best()
        if asian is not None:
            name, code = asian.encoding, ""
    return Encoding(name, False, code, example(sample.decode(name, "replace")))


def example(text: str) -> str:
    """A word outside ASCII, which shows how a text was decoded; empty if there is none."""
    word = _WORD.search(text) or re.search(r"\S*[^\x00-\x7f]\S*", text)
    return word[0][:40] if word else ""


def _characters(text: str) -> Counter[tuple[str, str, str]]:
    """Each character outside ASCII between its neighbours."""
    return Counter((place[1], place[2], place[3]) for place in _PLACE.finditer(text))


def _score(characters: Counter[tuple[str, str, str]], language: str) -> int:
    """What speaks for a language: 10 for each of its letters and each sign, in its place."""
    return sum(count * _weight(*place, _ALPHABETS[language]) for place, count in characters.items())


def _weight(before: str, character: str, after: str, alphabet: str) -> int:
    if not character.isalpha():
        if before.isalpha() and after.isalpha():
            return 10 if character in _WITHIN else 0
        sides = (not before.isalpha() or character in _CLOSING) and (
            not after.isalpha() or character in _OPENING
        )
        return 10 if character in _SIGNS and sides else 0
    mixed = any(other.isalpha() and _latin(other) != _latin(character) for other in (before, after))
    if mixed or (character.isupper() and before.islower()):
        return 0
    small = character.lower()[:1]
    weight = 10 if small in alphabet else 5 if small in _ANY else 0
    return weight - (weight > 0 and character.isupper())


def _latin(character: str) -> bool:
    return character < "\u0250" or "\u1e00" <= character < "\u1f00"


def _wide(sample: bytes) -> str:
    """UTF-16 without a mark: in European text every other byte is zero."""
    if len(sample) < 8:
        return ""
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 0.6 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.6 * half and odd < 0.05 * half else ""
