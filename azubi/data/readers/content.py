"""The text of one document, by its kind, and what of it is no text.

It runs in the process that `extract` starts, which bounds time and memory. Knows nothing of that process, nor
of tables and examples.
"""

import io
import itertools
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from azubi.data.readers import archive
from azubi.data.readers import encoding as encodings
from azubi.data.readers.mail import mail
from azubi.data.readers.pdf import pdf
from azubi.data.readers.row import Unusable
from azubi.settings import LimitSettings

_WESTERN = ("iso8859-1", "cp1252")
"""Encodings that programs name by habit: what they write is cp1252, or UTF-8."""
_SAMPLE = 4_000
"""Bytes of one document that go into the guess of an encoding."""


_FIRST_WORD = re.compile(r"(?<=\w)\b")
"""Where the first word of a part's name ends."""


class Undeclared(Exception):
    """Says that text is not UTF-8, and that nothing names its encoding. Carries a sample of it."""

    def __init__(self, sample: bytes) -> None:
        """Take the lines that hold more than ASCII."""
        super().__init__()
        self.sample = sample


class Document:
    """One document while it is read: how its bytes become text, and what of it was not read."""

    def __init__(
        self, name: str, limits: LimitSettings, encoding: str | None = None, *, guess: bool = False
    ) -> None:
        """`encoding` is what text is in that does not say so itself; a guess gives way to what text shows."""
        self.name = name
        self.limits = limits
        self.read_as = ""
        """The encoding in which text was read without its saying so."""
        self._encoding = encoding
        self._guess = guess
        self._unread: Counter[str] = Counter()

    def leave_out(self, part: str, count: int = 1) -> None:
        """Note that a part was not read; `part` is a noun, such as “picture”."""
        self._unread[part] += count

    @property
    def unread(self) -> list[str]:
        """The parts that were not read: 2 pictures, 1 attachment “a.pdf”."""
        return [
            f"{count:,} {part if count == 1 else _FIRST_WORD.sub('s', part, 1)}"
            for part, count in self._unread.items()
            if count
        ]

    def decoded(self, data: bytes, declared: str = "") -> str:
        """Bytes as text; `declared` is the encoding that the document itself names.

        Raises:
            Undeclared: the encoding has to be guessed.
            Unusable: they are not text in the encoding that they have to be in.
        """
        name = self._encoding_of(data, encodings.codec_name(declared) if declared else "")
        try:
            return data.decode(name).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            at = f"byte 0x{data[error.start]:02x} at {error.start:,}"
            raise Unusable(f"{at} is not {error.encoding} text ({error.reason})") from None

    def _encoding_of(self, data: bytes, declared: str) -> str:
        if declared not in ("", "ascii", "utf-8", *_WESTERN) and _decodes(data, declared):
            return declared
        if data.isascii() and b"\0" not in data and (declared or self._guess or not self._encoding):
            return "ascii"
        if encodings.is_utf8(data):
            self.read_as = self.read_as or "utf-8"
            return "utf-8"
        if declared in _WESTERN:
            return "cp1252" if _decodes(data, "cp1252") else "iso8859-1"
        if self._encoding and not self._guess:
            return self._encoding
        if encoding := encodings.evident(data, self.name):
            self.read_as = self.read_as if encoding.sure else encoding.name
            return encoding.name
        if self._encoding is None:
            raise Undeclared(encodings.foreign(data, _SAMPLE))
        self.read_as = self._encoding
        return self._encoding


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _plain(data: bytes, document: Document) -> str:
    return document.decoded(data) if data.strip() else ""


_CHARSET = re.compile(rb"""charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
_NOT_SHOWN = ("hidden", "submit", "button", "reset", "image", "file", "password", "checkbox", "radio")


def html(data: bytes, document: Document) -> str:
    """The text of a page, with what its fields were filled with."""
    declared = _CHARSET.search(data[:4096])
    text = document.decoded(data, declared[1].decode() if declared else "") if data.strip() else ""
    return html_text(text, document)


def html_text(text: str, document: Document) -> str:
    """The text of a page that is decoded."""
    from bs4 import BeautifulSoup
    from markitdown import StreamInfo
    from markitdown.converters import HtmlConverter

    if re.search(r"<(img|select|input|textarea)\b", text, re.IGNORECASE):
        page = BeautifulSoup(text, "html.parser")
        document.leave_out("picture", len(page.find_all("img")))
        for choice in page.find_all("select"):
            chosen = choice.select("option[selected]") or choice.select("option")[:1]
            choice.replace_with(", ".join(str(option.find(string=True) or "").strip() for option in chosen))
        for field in page.find_all("input"):
            if field.get("value") and str(field.get("type", "text")).lower() not in _NOT_SHOWN:
                field.replace_with(f" {field['value']} ")
        text = str(page)
    converted = HtmlConverter().convert(
        io.BytesIO(text.encode(errors="replace")), StreamInfo(extension=".html", charset="utf-8")
    )
    return converted.markdown


_PARTS = re.compile(r"word/(header|footer|comments)\d*\.xml")
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_SPACES = {f"{_WORD}{name}": " " for name in ("tab", "br", "cr")}


def _docx(data: bytes, document: Document) -> str:
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter

    archive.check(io.BytesIO(data), document.name, document.limits.office)
    converter: Any = DocxConverter  # its constructor has no types
    body = str(converter().convert(io.BytesIO(data), StreamInfo(extension=".docx")).markdown)
    around: dict[str, dict[str, None]] = {"header": {}, "document": {}, "footer": {}, "comments": {}}
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        for name in parts.namelist():
            if name == "word/document.xml":
                around["document"].update(dict.fromkeys(_chosen(parts.read(name))))
            elif part := _PARTS.fullmatch(name):
                around[part[1]].update(dict.fromkeys(_paragraphs(parts.read(name))))
            elif name.startswith("word/media/"):
                document.leave_out("picture")
            elif name.startswith(("word/embeddings/", "word/charts/chart")):
                document.leave_out("object (chart or sheet)")
    header, *others = around.values()
    return "\n\n".join(filter(None, (*header, body, *itertools.chain(*others))))


def _chosen(part: bytes) -> Iterator[str]:
    """What was chosen in the lists of a form; mammoth leaves it out."""
    for field in ElementTree.fromstring(part).iter(f"{_WORD}ffData"):
        value = f"{_WORD}val"
        name, entries = field.find(f"{_WORD}name"), field.findall(f"{_WORD}ddList/{_WORD}listEntry")
        result = field.find(f"{_WORD}ddList/{_WORD}result")
        place = int(result.get(value, 0)) if result is not None else 0
        if place < len(entries):
            yield f"{name.get(value, '') if name is not None else ''}: {entries[place].get(value, '')}"


def _paragraphs(part: bytes) -> Iterator[str]:
    """The texts of a part's paragraphs; text boxes are paragraphs within others."""
    for paragraph in ElementTree.fromstring(part).iter(f"{_WORD}p"):
        inner = {each for box in paragraph.findall(f".//{_WORD}p") for each in box.iter()}
        pieces = (_SPACES.get(each.tag, each.text) for each in paragraph.iter() if each not in inner)
        if text := " ".join("".join(filter(None, pieces)).split()):
            yield text


def _pdf(data: bytes, document: Document) -> str:
    return pdf(data, document.limits.pages, document.leave_out)


def _eml(data: bytes, document: Document) -> str:
    return mail(data, document.decoded, lambda text: html_text(text, document), document.leave_out)


KINDS: dict[str, Callable[[bytes, Document], str]] = {
    ".txt": _plain,
    ".md": _plain,
    ".html": html,
    ".htm": html,
    ".docx": _docx,
    ".pdf": _pdf,
    ".eml": _eml,
}
"""By the suffix of their name."""


def content(path: Path, document: Document) -> str:
    """The text of a document.

    Raises:
        Undeclared: the encoding of its text has to be guessed.
        Unusable, DataError: it cannot be read, and why; other errors are those of libraries.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unusable(f"the document cannot be read: {error.strerror}") from None
    return KINDS[path.suffix.lower()](data, document)
