"""The text of one document (text, HTML, Word, PDF, mail), and its parts that are not text.

`extract` runs in the sandbox, which limits time and memory. Knows nothing of tables and examples.
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

from azubi.data.readers.row import LONGEST_ROW, Unusable
from azubi.data.readers.text import certain_encoding, codec_name, is_utf8, non_ascii_lines
from azubi.errors import DataError

LIBRARIES = ("bs4", "markitdown.converters", "pypdf")
"""What `extract` imports."""
LARGEST_DOCUMENT = 100_000_000
"""Bytes of a document's file."""
MOST_PAGES = 1_000
"""Pages of a PDF."""
_WESTERN = ("iso8859-1", "cp1252")
"""Encodings that programs name by habit: what they write is cp1252, or UTF-8."""
_SAMPLE = 4_000
"""Bytes of one document that go into the guess of an encoding."""
_FIRST_WORD = re.compile(r"(?<=\w)\b")
"""Where the first word of a part's name ends."""


class Undeclared(Exception):
    """Says that text is not UTF-8, and that nothing names its encoding. Carries the lines beyond ASCII."""


class Document:
    """One document while it is read: how its bytes become text, and what of it was not read."""

    def __init__(self, encoding: str | None, guess: bool) -> None:
        """`encoding` is what text is in that does not say so itself; a guess gives way to what text shows."""
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
            f"{count:,} {part if count == 1 else _FIRST_WORD.sub('s', part, count=1)}"
            for part, count in self._unread.items()
            if count
        ]

    def decode(self, data: bytes, declared: str = "") -> str:
        """Bytes as text; `declared` is the encoding that the document itself names.

        Raises:
            Undeclared: the encoding has to be guessed.
            Unusable: they are not text in the encoding that they have to be in.
        """
        if not data.strip():
            return ""
        try:
            return data.decode(self._encoding_of(data, codec_name(declared))).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            byte = f"byte 0x{data[error.start]:02x} at {error.start:,}"
            raise Unusable(f"holds {byte}, which is not {error.encoding} text ({error.reason})") from None

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
        if encoding := certain_encoding(data, "the document"):
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


def extract(path: str, encoding: str | None, guess: bool) -> Iterator[dict[str, Any]]:
    """Yield text, unread parts and encoding of a document; or a sample of text whose encoding is not known.

    Raises:
        Unusable: it cannot be read, and why; other errors are those of libraries.
    """
    document = Document(encoding, guess)
    try:
        data = Path(path).read_bytes()
        text = KINDS[Path(path).suffix.lower()](data, document)
    except Undeclared as undeclared:
        yield {"undeclared": undeclared.args[0].decode("latin-1")}
        return
    except DataError as error:
        raise Unusable(f"cannot be read: {error.problem.rstrip('.')}") from None
    if not text.strip():
        raise Unusable(f"has no text ({', '.join(document.unread) or 'a scan, perhaps'})")
    if len(text) > LONGEST_ROW:
        raise Unusable(f"has {len(text):,} characters of text, more than {LONGEST_ROW:,}")
    yield {"text": text, "unread": document.unread, "read_as": document.read_as}


def _plain(data: bytes, document: Document) -> str:
    return document.decode(data)


# HTML

_CHARSET = re.compile(rb"""charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
_NOT_SHOWN = ("hidden", "submit", "button", "reset", "image", "file", "password", "checkbox", "radio")


def _html(data: bytes, document: Document) -> str:
    declared = _CHARSET.search(data[:4096])
    return _html_text(document.decode(data, declared[1].decode() if declared else ""), document)


def _html_text(text: str, document: Document) -> str:
    """The text of a page, with what its fields were filled with."""
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
    stream = io.BytesIO(text.encode(errors="replace"))
    return HtmlConverter().convert(stream, StreamInfo(extension=".html", charset="utf-8")).markdown


# Word

_PARTS = re.compile(r"word/(header|footer|comments)\d*\.xml")
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_VALUE = f"{_WORD}val"
_SPACES = {f"{_WORD}{name}": " " for name in ("tab", "br", "cr")}


def _docx(data: bytes, document: Document) -> str:
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter

    texts: dict[str, dict[str, None]] = {"header": {}, "document": {}, "footer": {}, "comments": {}}
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        for name in parts.namelist():
            if name.endswith((".xml", ".rels")) and b"<!" in (part := parts.read(name).replace(b"\0", b"")):
                _refuse_entities(part, name)
            if name == "word/document.xml":
                texts["document"].update(dict.fromkeys(_chosen_entries(parts.read(name))))
            elif match := _PARTS.fullmatch(name):
                texts[match[1]].update(dict.fromkeys(_paragraphs(parts.read(name))))
            elif name.startswith("word/media/"):
                document.leave_out("picture")
            elif name.startswith(("word/embeddings/", "word/charts/chart")):
                document.leave_out("object (chart or sheet)")
    converter: Any = DocxConverter  # its constructor has no types
    body = str(converter().convert(io.BytesIO(data), StreamInfo(extension=".docx")).markdown)
    header, *others = texts.values()
    return "\n\n".join(filter(None, (*header, body, *itertools.chain(*others))))


def _refuse_entities(part: bytes, name: str) -> None:
    """Entities may unfold to anything, or name files of this machine."""
    if b"<!DOCTYPE" in part or b"<!ENTITY" in part:
        raise Unusable(f"holds XML entities in {name}, which no office program writes")


def _chosen_entries(part: bytes) -> Iterator[str]:
    """What was chosen in the lists of a form; mammoth leaves it out."""
    for field in ElementTree.fromstring(part).iter(f"{_WORD}ffData"):
        name, entries = field.find(f"{_WORD}name"), field.findall(f"{_WORD}ddList/{_WORD}listEntry")
        result = field.find(f"{_WORD}ddList/{_WORD}result")
        index = int(result.get(_VALUE, 0)) if result is not None else 0
        if index < len(entries):
            label = name.get(_VALUE, "") if name is not None else ""
            yield f"{label}: {entries[index].get(_VALUE, '')}"


def _paragraphs(part: bytes) -> Iterator[str]:
    """The texts of a part's paragraphs; text boxes are paragraphs within others."""
    for paragraph in ElementTree.fromstring(part).iter(f"{_WORD}p"):
        nested = {element for box in paragraph.findall(f".//{_WORD}p") for element in box.iter()}
        pieces = [
            _SPACES.get(element.tag, element.text) for element in paragraph.iter() if element not in nested
        ]
        if text := " ".join("".join(filter(None, pieces)).split()):
            yield text


# Mails

_HEADERS = ("From", "To", "Date", "Subject")
_MOST_NESTED = 10
"""Mails within mails."""
_SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")


def _parse_mail(data: bytes) -> EmailMessage:
    return email.message_from_bytes(data, policy=email.policy.default)


def _eml(data: bytes, document: Document) -> str:
    return _mail_text(_parse_mail(data), document, 0)


def _mail_text(message: EmailMessage, document: Document, depth: int) -> str:
    headers = [f"{name}: {value}" for name in _HEADERS if (value := _header(message, name, document))]
    parts = (text.strip() for text in _mail_parts(message, document, depth))
    return "\n\n".join(["\n".join(headers), *filter(None, parts)]).strip()


def _header(message: EmailMessage, name: str, document: Document) -> str:
    value = str(message[name] or "")
    if "\ufffd" in value:  # bytes outside ASCII, which no mail should have there
        raw = next(raw for key, raw in message.raw_items() if key.lower() == name.lower())
        value = " ".join(document.decode(str(raw).encode("ascii", "surrogateescape")).split())
    return value


def _mail_parts(part: EmailMessage, document: Document, depth: int, bodies: bool = True) -> Iterator[str]:
    """The texts of a part, in their order; without `bodies` attached mails alone."""
    kind = part.get_content_type()
    if kind == "message/rfc822" or (part.get_filename() or "").lower().endswith(".eml"):
        yield _attached_mail(part, document, depth)
    elif kind == "multipart/alternative":
        # One text in several forms: the plainest that says something, and what is attached to others.
        for other in sorted(part.iter_parts(), key=lambda other: other.get_content_type() != "text/plain"):
            if bodies or other.is_multipart():
                texts = list(_mail_parts(cast(EmailMessage, other), document, depth, bodies))
                bodies = bodies and not any(map(str.strip, texts))
                yield from texts
    elif part.is_multipart() and part.get_content_maintype() == "multipart":
        for inner in part.iter_parts():
            yield from _mail_parts(cast(EmailMessage, inner), document, depth, bodies)
    elif kind in ("text/plain", "text/html") and not part.is_attachment():
        if bodies:
            data = cast(bytes, part.get_payload(decode=True)) or b""
            text = document.decode(data, part.get_content_charset() or "")
            yield _html_text(text, document) if kind == "text/html" else text
    elif part.get_content_maintype() == "image":
        document.leave_out("picture")
    elif kind not in _SIGNATURES:
        document.leave_out(f"attachment “{part.get_filename() or kind}”")


def _attached_mail(part: EmailMessage, document: Document, depth: int) -> str:
    if depth >= _MOST_NESTED:
        document.leave_out("mail attached too deep")
        return ""
    payload = part.get_payload()
    if not isinstance(payload, list):
        message = _parse_mail(cast(bytes, part.get_payload(decode=True)) or b"")
    elif str(part.get("Content-Transfer-Encoding", "")).lower() == "base64":  # which mails must not have
        message = _parse_mail(base64.b64decode(cast(str, cast(EmailMessage, payload[0]).get_payload())))
    else:
        message = cast(EmailMessage, payload[0])
    return _mail_text(message, document, depth + 1)


# PDF

_PAINTS = re.compile(rb"(?<!\S)(?:Do|EI|sh|[fF]|f\*|[sS]|[bB]\*?)(?!\S)")
"""Operators of a page's content that draw something other than text."""
_STAMP = 40
"""Characters that stand on a scanned page, too: its number, the date of receipt."""
_SILENT = ("/Popup", "/Link", "/Widget")
"""Annotations that say nothing of their own."""
_PUSH_BUTTON = 1 << 16
_DEEPEST_FIELD = 32
"""Fields within fields."""


def _pdf(data: bytes, document: Document) -> str:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unusable("is a PDF with a password")
    if len(reader.pages) > MOST_PAGES:
        raise Unusable(f"has {len(reader.pages):,} pages, more than {MOST_PAGES:,}")
    fields: set[tuple[str, str]] = set()
    pages: list[str] = []
    for page in reader.pages:
        text, pictures = page.extract_text(), _count_pictures(page)
        length = len(text.strip())
        if not length and (pictures or _is_drawn(page)):
            document.leave_out("page without text")
        elif pictures and length < _STAMP:
            document.leave_out("page with hardly any text")
        else:
            document.leave_out("picture", pictures)
        pages.append("\n".join([text, *filter(None, _annotations(page, fields))]))
    if not any(value for _, value in fields) and (xfa := reader.xfa):
        pages += _xfa_values(xfa, document)
    for name in reader.attachments:
        document.leave_out(f"attachment “{name}”")
    return "\n\n".join(pages)


def _count_pictures(page: Any) -> int:
    drawn = _resolve(_resolve(page.get("/Resources", {})).get("/XObject", {}))
    return sum(_resolve(part).get("/Subtype") == "/Image" for part in drawn.values())


def _is_drawn(page: Any) -> bool:
    content = page.get_contents()
    return content is not None and _PAINTS.search(content.get_data()) is not None


def _annotations(page: Any, fields: set[tuple[str, str]]) -> Iterator[str]:
    """What was written onto a page: fields, each once in the document, and comments."""
    for annotation in map(_resolve, _resolve(page.get("/Annots")) or ()):
        if annotation.get("/Subtype") == "/Widget":
            if (field := _field(annotation)) not in fields:
                fields.add(field)
                yield ": ".join(field) if field[1] else ""
        elif annotation.get("/Subtype") not in _SILENT:
            yield str(annotation.get("/Contents") or "").strip()


def _field(widget: Any) -> tuple[str, str]:
    """Name and value; what a widget does not say itself stands in the fields above it."""
    chain = [widget]
    while len(chain) < _DEEPEST_FIELD and (parent := _resolve(chain[-1].get("/Parent"))):
        chain.append(parent)
    names = [str(field["/T"]) for field in reversed(chain) if "/T" in field]
    name = ".".join(names[-1:] if any("[" in part for part in names) else names)  # XFA's: a[0].b[0]
    settings = {
        key: _resolve(field[key])
        for field in reversed(chain)
        for key in ("/FT", "/Ff", "/V", "/Opt", "/AS")
        if key in field
    }
    return re.sub(r"\[\d+\]", "", name), _field_value(settings)


def _field_value(field: Mapping[str, Any]) -> str:
    kind = field.get("/FT")
    value = field.get("/V", field.get("/AS") if kind == "/Btn" else None)
    if value is None or kind == "/Sig" or (kind == "/Btn" and int(field.get("/Ff", 0)) & _PUSH_BUTTON):
        return ""
    options = [_resolve(option) for option in field.get("/Opt") or ()]
    if kind == "/Btn":
        state = str(value).removeprefix("/")
        return str(options[int(state)]) if state.isdecimal() and int(state) < len(options) else state
    shown = {str(_resolve(each[0])): str(_resolve(each[1])) for each in options if isinstance(each, list)}
    texts = map(_pdf_text, value if isinstance(value, list) else [value])
    return ", ".join(shown.get(text, text) for text in texts).strip()


def _pdf_text(value: Any) -> str:
    """A text; a long one may stand in a stream."""
    value = _resolve(value)
    if hasattr(value, "get_data"):
        data = value.get_data()
        return str(data.decode("utf-16" if data[:2] in (b"\xfe\xff", b"\xff\xfe") else "latin-1"))
    return str(value).replace("\r\n", "\n").replace("\r", "\n")


def _resolve(value: Any) -> Any:
    """What a reference within the file stands for."""
    return value.get_object() if hasattr(value, "get_object") else value


def _xfa_values(xfa: Mapping[str, Any], document: Document) -> list[str]:
    """The values of a form that has no other fields than Adobe's own."""
    data = xfa.get("datasets", b"")
    try:
        if not data or re.search(rb"<!(?!--|\[CDATA)", data):
            raise ElementTree.ParseError("no data, or entities")
        fields = [field for field in ElementTree.fromstring(data).iter() if not len(field)]
    except ElementTree.ParseError:
        document.leave_out("form in XFA")
        return []
    return [
        f"{field.tag.rpartition('}')[2]}: {field.text.strip()}"
        for field in fields
        if field.text and field.text.strip()
    ]


KINDS: dict[str, Callable[[bytes, Document], str]] = {
    ".txt": _plain,
    ".md": _plain,
    ".html": _html,
    ".htm": _html,
    ".docx": _docx,
    ".pdf": _pdf,
    ".eml": _eml,
}
"""What reads a document, by the suffix of its name."""
