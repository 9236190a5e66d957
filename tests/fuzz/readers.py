"""What is thrown at the readers, and seeds to begin with: for atheris (`make fuzz`) and for the suite.

A reader may refuse anything, but only with an AzubiError; and what it gives are examples and rejected rows
that can be written as UTF-8.
"""

import contextlib
import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow
from pyarrow import parquet

from azubi.data.example import Example
from azubi.data.readers.content import KINDS
from azubi.data.readers.reading import stream
from azubi.data.readers.row import Unusable
from azubi.data.readers.sandbox import run
from azubi.errors import AzubiError

LIMITS = {"memory": 300_000_000}
"""Small, so that what unfolds is soon refused."""
EXTRACT = "azubi.data.readers.content:extract"

_ROWS = [{"prompt": 'größe, "a"', "answer": "x"}, {"prompt": "b\nc", "answer": {"a": 1}}]
_CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
_JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [*_ROWS, _CHAT]).encode()
_CSV = b'prompt;answer\n"a ""b""\nc";x\n\xc3\xa4;y\n'


def feed(name: str, data: bytes) -> None:
    """Read `data` as a file of that name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        with contextlib.suppress(AzubiError):
            for example in stream(path, limits=LIMITS):
                text = (
                    example.prompt + example.answer + example.key
                    if isinstance(example, Example)
                    else example.as_json()
                )
                text.encode()


def feed_document(suffix: str, data: bytes) -> None:
    """Get the text out of `data` as a document of that kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        path.write_bytes(data)
        with contextlib.suppress(Unusable):
            (document,) = run(EXTRACT, {"path": str(path), "encoding": None, "guess": True})
            if "undeclared" in document:
                (document,) = run(EXTRACT, {"path": str(path), "encoding": "cp1252", "guess": True})
            assert set(document) == {"text", "unread", "read_as"}


def _parquet() -> bytes:
    out = io.BytesIO()
    columns = {"prompt": ["a", "b", None], "answer": ["x", "y", "z"], "n": [1.5, None, 2.0]}
    parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def _workbook() -> bytes:
    import openpyxl

    out = io.BytesIO()
    book = openpyxl.Workbook()
    for row in [("prompt", "answer"), ("a", 1), ("b", 2.5)]:
        book.active.append(row)
    book.save(out)
    return out.getvalue()


def _docx() -> bytes:
    import docx

    out = io.BytesIO()
    document = docx.Document()
    document.add_paragraph("A claim.")
    document.save(out)
    return out.getvalue()


def _small_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", '<c r="B2"/>')
    return out.getvalue()


_PDF = (
    b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] "
    b"/Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>\nendobj\n4 0 obj\n"
    b"<< /Length 20 >>\nstream\nBT (A claim) Tj ET  \nendstream\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"
)
_EML = (
    b"Subject: =?utf-8?b?w6Q=?=\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html; "
    b"charset=latin-1\n\n<p>a</p>\n--x--\n"
)
_HTML = b"<!doctype html><meta charset=utf-8><table><tr><td>a</td></tr></table><p>b <a href=x>c</a>"
_FIELDS = b"<p>\xe4<input value=a><select><option>b<option selected>c</select><img src=d>"
_FORM_PDF = _PDF.replace(
    b"/Contents 4 0 R",
    b"/Contents 4 0 R /Annots [<< /Subtype /Widget /FT /Ch /T (a) /V (b) /Opt [[(b) (c)]] >> "
    b"<< /Subtype /Widget /FT /Btn /T (d) /V /0 /Opt [(e)] >> << /Subtype /Text /Contents (f) >>]",
)
_FORWARDED = (
    b"Subject: \xe4\nContent-Type: multipart/mixed; boundary=y\n\n--y\nContent-Type: message/rfc822\n\n"
    + _EML
    + b"\n--y\nContent-Type: application/pdf; name=a.pdf\n\n%PDF\n--y--\n"
)

READERS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "csv": (
        partial(feed, "a.csv"),
        lambda: [_CSV, _CSV.replace(b";", b"\t"), _CSV.decode().encode("utf-16")],
    ),
    "jsonl": (partial(feed, "a.jsonl"), lambda: [_JSONL]),
    "list": (partial(feed, "a.json"), lambda: [json.dumps([*_ROWS, _CHAT], indent=1).encode()]),
    "packed": (
        partial(feed, "a.txt"),
        lambda: [gzip.compress(_JSONL), pyarrow.compress(_JSONL, codec="zstd", asbytes=True)],
    ),
    "parquet": (partial(feed, "a.parquet"), lambda: [_parquet()]),
    "workbook": (partial(feed, "a.xlsx"), lambda: [_workbook(), _small_zip()]),
    "txt": (partial(feed_document, ".txt"), lambda: [b"a text", "größe".encode("cp1252")]),
    "html": (partial(feed_document, ".html"), lambda: [_HTML, _FIELDS]),
    "eml": (partial(feed_document, ".eml"), lambda: [_EML, _FORWARDED]),
    "pdf": (partial(feed_document, ".pdf"), lambda: [_PDF, _FORM_PDF]),
    "docx": (partial(feed_document, ".docx"), lambda: [_docx()]),
}
"""By name: what reads, and what it reads to begin with."""

assert set(KINDS) - {f".{name}" for name in READERS} == {".md", ".htm"}, (
    "a kind of document without a harness"
)
