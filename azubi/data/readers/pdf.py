"""The text of a PDF: its pages, what its form fields were filled with, and its comments.

Knows nothing of other documents.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from azubi.data.readers.row import Unusable

LeaveOut = Callable[[str, int], None]

_PAINTS = re.compile(rb"(?<!\S)(?:Do|EI|sh|[fF]|f\*|[sS]|[bB]\*?)(?!\S)")
"""Operators of a page's content that draw something other than text."""
_STAMP = 40
"""Characters that stand on a scanned page, too: its number, the date of receipt."""
_SILENT = ("/Popup", "/Link", "/Widget")
"""Annotations that say nothing of their own."""
_PUSH_BUTTON = 1 << 16
_DEEPEST = 32
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
    if not any(value for _, value in fields) and (form := reader.xfa):
        pages += list(_xfa(form, leave_out))
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
    while len(chain) < _DEEPEST and (above := _object(chain[-1].get("/Parent"))):
        chain.append(above)
    names = [str(each["/T"]) for each in reversed(chain) if "/T" in each]
    name = ".".join(names[-1:] if any("[" in part for part in names) else names)  # XFA's: a[0].b[0]
    settings = {key: _object(each[key]) for each in reversed(chain) for key in _SETTINGS if key in each}
    return re.sub(r"\[\d+\]", "", name), _value(settings)


_SETTINGS = ("/FT", "/Ff", "/V", "/Opt", "/AS")


def _value(field: Mapping[str, Any]) -> str:
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
    return ", ".join(names.get(_text(each), _text(each)) for each in values).strip()


def _text(value: Any) -> str:
    """A text; a long one may stand in a stream."""
    if hasattr(value, "get_data"):
        data = value.get_data()
        return str(data.decode("utf-16" if data[:2] in (b"\xfe\xff", b"\xff\xfe") else "latin-1"))
    return str(value).replace("\r\n", "\n").replace("\r", "\n")


def _object(value: Any) -> Any:
    return value.get_object() if hasattr(value, "get_object") else value


def _xfa(form: Mapping[str, Any], leave_out: LeaveOut) -> Iterator[str]:
    """The values of a form that has no other fields than Adobe's own."""
    data = form.get("datasets", b"")
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
