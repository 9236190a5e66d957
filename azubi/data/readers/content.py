"""The text of one document (text, HTML, Word, PDF, mail), and its parts that are not text.

Runs in the process that `sandbox` starts, which limits time and memory. Knows nothing of that process, nor
of tables and examples.
"""

import base64
import email
import email.policy
import io
import itertools
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

from azubi.data.readers.opening import check_archive
from azubi.data.readers.row import Unusable
from azubi.data.readers.text import certain_encoding, codec_name, is_utf8, non_ascii_lines
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
        name = self._encoding_of(data, codec_name(declared) if declared else "")
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
        if is_utf8(data):
            self.read_as = self.read_as or "utf-8"
            return "utf-8"
        if declared in _WESTERN:
            return "cp1252" if _decodes(data, "cp1252") else "iso8859-1"
        if self._encoding and not self._guess:
            return self._encoding
        if encoding := certain_encoding(data, self.name):
            self.read_as = self.read_as if encoding.sure else encoding.name
            return encoding.name
        if self._encoding is None:
            raise Undeclared(non_ascii_lines(data, _SAMPLE))
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

    check_archive(io.BytesIO(data), document.name, document.limits.unzipped_size)
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


Decode = Callable[[bytes, str], str]
LeaveOutMail = Callable[[str], None]

_HEADERS = ("From", "To", "Date", "Subject")
_MOST_NESTED = 10
"""Mails within mails."""
_MOST_MAILS = 200
"""Mails within one."""
_SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")


def mail(data: bytes, decode: Decode, html: Callable[[str], str], leave_out: LeaveOutMail) -> str:
    """The text of a mail; `leave_out` is given each part that is not read."""
    return _Mail(decode, html, leave_out).text(_parsed(data))


def _parsed(data: bytes) -> EmailMessage:
    return email.message_from_bytes(data, policy=email.policy.default)


class _Mail:
    def __init__(self, decode: Decode, html: Callable[[str], str], leave_out: LeaveOutMail) -> None:
        self._decode = decode
        self._html = html
        self._leave_out = leave_out
        self._attached = 0

    def text(self, message: EmailMessage, depth: int = 0) -> str:
        headers = [f"{name}: {value}" for name in _HEADERS if (value := self._header(message, name))]
        parts = (text.strip() for text in self._parts(message, depth))
        return "\n\n".join(["\n".join(headers), *filter(None, parts)]).strip()

    def _header(self, message: EmailMessage, name: str) -> str:
        value = str(message[name] or "")
        if "\ufffd" in value:  # bytes outside ASCII, which no mail should have there
            raw = next(raw for key, raw in message.raw_items() if key.lower() == name.lower())
            value = " ".join(self._decode(str(raw).encode("ascii", "surrogateescape"), "").split())
        return value

    def _parts(self, part: EmailMessage, depth: int, bodies: bool = True) -> Iterator[str]:
        """The texts of a part, in their order; without `bodies` attached mails alone."""
        kind = part.get_content_type()
        if kind == "message/rfc822" or (part.get_filename() or "").lower().endswith(".eml"):
            yield self._inner(part, depth)
        elif kind == "multipart/alternative":
            yield from self._alternative(part, depth, bodies)
        elif part.is_multipart() and part.get_content_maintype() == "multipart":
            for each in part.iter_parts():
                yield from self._parts(cast(EmailMessage, each), depth, bodies)
        elif kind in ("text/plain", "text/html") and not part.is_attachment():
            if bodies:
                data = cast(bytes, part.get_payload(decode=True)) or b""
                text = self._decode(data, part.get_content_charset() or "")
                yield self._html(text) if kind == "text/html" else text
        elif part.get_content_maintype() == "image":
            self._leave_out("picture")
        elif kind not in _SIGNATURES:
            self._leave_out(f"attachment “{part.get_filename() or kind}”")

    def _inner(self, part: EmailMessage, depth: int) -> str:
        self._attached += 1
        if depth >= _MOST_NESTED or self._attached > _MOST_MAILS:
            self._leave_out("mail attached too deep")
            return ""
        payload = part.get_payload()
        if not isinstance(payload, list):
            inner = _parsed(cast(bytes, part.get_payload(decode=True)) or b"")
        elif str(part.get("Content-Transfer-Encoding", "")).lower() == "base64":  # which mails must not have
            inner = _parsed(base64.b64decode(cast(str, cast(EmailMessage, payload[0]).get_payload())))
        else:
            inner = cast(EmailMessage, payload[0])
        return self.text(inner, depth + 1)

    def _alternative(self, part: EmailMessage, depth: int, bodies: bool) -> Iterator[str]:
        """One text in several forms: the plainest that says something, and what is attached to others."""
        for each in sorted(part.iter_parts(), key=lambda each: each.get_content_type() != "text/plain"):
            if bodies or each.is_multipart():
                texts = list(self._parts(cast(EmailMessage, each), depth, bodies))
                bodies = bodies and not any(map(str.strip, texts))
                yield from texts


LeaveOut = Callable[[str, int], None]

_PAINTS = re.compile(rb"(?<!\S)(?:Do|EI|sh|[fF]|f\*|[sS]|[bB]\*?)(?!\S)")
"""Operators of a page's content that draw something other than text."""
_STAMP = 40
"""Characters that stand on a scanned page, too: its number, the date of receipt."""
_SILENT = ("/Popup", "/Link", "/Widget")
"""Annotations that say nothing of their own."""
_PUSH_BUTTON = 1 << 16
_DEEPEST_FIELD = 32
"""Fields within fields."""


def pdf(data: bytes, most_pages: int, leave_out: LeaveOut) -> str:
    """The text of all pages; `leave_out` is given each kind of part that is not read, and how many.

    Raises:
        Unusable: it has a password, or too many pages.
    """
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unusable("the PDF has a password")
    if len(reader.pages) > most_pages:
        raise Unusable(f"the PDF has {len(reader.pages):,} pages; limits.pages allows {most_pages:,}")
    fields: set[tuple[str, str]] = set()
    pages: list[str] = []
    for page in reader.pages:
        text, pictures = page.extract_text(), _pictures(page)
        length = len(text.strip())
        if not length and (pictures or _drawn(page)):
            leave_out("page without text", 1)
        elif pictures and length < _STAMP:
            leave_out("page with hardly any text", 1)
        else:
            leave_out("picture", pictures)
        pages.append("\n".join([text, *filter(None, _annotations(page, fields))]))
    if not any(value for _, value in fields) and (xfa := reader.xfa):
        pages += list(_xfa(xfa, leave_out))
    for name in reader.attachments:
        leave_out(f"attachment “{name}”", 1)
    return "\n\n".join(pages)


def _pictures(page: Any) -> int:
    drawn = _object(_object(page.get("/Resources", {})).get("/XObject", {}))
    return sum(_object(each).get("/Subtype") == "/Image" for each in drawn.values())


def _drawn(page: Any) -> bool:
    content = page.get_contents()
    return content is not None and _PAINTS.search(content.get_data()) is not None


def _annotations(page: Any, fields: set[tuple[str, str]]) -> Iterator[str]:
    """What was written onto a page: fields, each once in the document, and comments."""
    for each in _object(page.get("/Annots")) or ():
        annotation = _object(each)
        if annotation.get("/Subtype") == "/Widget":
            if (field := _field(annotation)) not in fields:
                fields.add(field)
                yield ": ".join(field) if field[1] else ""
        elif annotation.get("/Subtype") not in _SILENT:
            yield str(annotation.get("/Contents") or "").strip()


def _field(widget: Any) -> tuple[str, str]:
    """Name and value; what a widget does not say itself stands in the fields above it."""
    chain = [widget]
    while len(chain) < _DEEPEST_FIELD and (above := _object(chain[-1].get("/Parent"))):
        chain.append(above)
    names = [str(each["/T"]) for each in reversed(chain) if "/T" in each]
    name = ".".join(names[-1:] if any("[" in part for part in names) else names)  # XFA's: a[0].b[0]
    settings = {key: _object(each[key]) for each in reversed(chain) for key in _SETTINGS if key in each}
    return re.sub(r"\[\d+\]", "", name), _field_value(settings)


_SETTINGS = ("/FT", "/Ff", "/V", "/Opt", "/AS")


def _field_value(field: Mapping[str, Any]) -> str:
    kind, options = field.get("/FT"), field.get("/Opt") or ()
    value = field.get("/V", field.get("/AS") if kind == "/Btn" else None)
    if value is None or kind == "/Sig" or (kind == "/Btn" and int(field.get("/Ff", 0)) & _PUSH_BUTTON):
        return ""
    shown = [_object(option) for option in options]
    if kind == "/Btn":
        state = str(value).removeprefix("/")
        return str(shown[int(state)]) if state.isdecimal() and int(state) < len(shown) else state
    names = {str(_object(each[0])): str(_object(each[1])) for each in shown if isinstance(each, list)}
    values = [_object(each) for each in value] if isinstance(value, list) else [value]
    return ", ".join(names.get(_pdf_text(each), _pdf_text(each)) for each in values).strip()


def _pdf_text(value: Any) -> str:
    """A text; a long one may stand in a stream."""
    if hasattr(value, "get_data"):
        data = value.get_data()
        return str(data.decode("utf-16" if data[:2] in (b"\xfe\xff", b"\xff\xfe") else "latin-1"))
    return str(value).replace("\r\n", "\n").replace("\r", "\n")


def _object(value: Any) -> Any:
    return value.get_object() if hasattr(value, "get_object") else value


def _xfa(xfa: Mapping[str, Any], leave_out: LeaveOut) -> Iterator[str]:
    """The values of a form that has no other fields than Adobe's own."""
    data = xfa.get("datasets", b"")
    try:
        if not data or re.search(rb"<!(?!--|\[CDATA)", data):
            raise ElementTree.ParseError("no data, or entities")
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError:
        leave_out("form in XFA", 1)
        return
    for field in root.iter():
        if not len(field) and field.text and field.text.strip():
            yield f"{field.tag.rpartition('}')[2]}: {field.text.strip()}"
