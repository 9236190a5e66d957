"""A folder of documents joined with a table of answers."""

import io
import os
import zipfile
from email.message import EmailMessage

import docx
import pytest

from azubi.data.readers import content, documents
from azubi.data.readers.reading import read
from azubi.data.readers.row import Unusable
from tests.data.readers.writing import refused


def word(*paragraphs):
    out = io.BytesIO()
    made = docx.Document()
    for text in paragraphs:
        made.add_paragraph(text)
    made.save(out)
    return out.getvalue()


def pdf(text):
    """A PDF with one page and one line on it."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        out
        + b"xref\n0 6\n0000000000 65535 f \n%strailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (
            table,
            len(out),
        )
    )


def mail(html=False):
    message = EmailMessage()
    message["Subject"], message["From"] = "Sturmschäden", "anna@example.com"
    message.set_content("Das Dach ist beschädigt.")
    if html:
        message.set_content("<p>Das <b>Dach</b> ist beschädigt.</p>", subtype="html")
    message.add_attachment(b"\x00\x01", maintype="application", subtype="octet-stream", filename="a.bin")
    return bytes(message)


@pytest.fixture
def folder(file, tmp_path):
    file("Der Baum fiel auf das Auto.".encode("cp1252"), "docs/a.txt")
    file(
        "<html><head><title>t</title><script>x()</script></head><body><p>Größe</p></body></html>",
        "docs/b.html",
    )
    file(word("Erster Absatz.", "Zweiter."), "docs/sub/c.docx")
    file(pdf("Page of a claim"), "docs/d.pdf")
    file(mail(), "docs/e.eml")
    file(mail(html=True), "docs/f.eml")
    file(
        "file,lob\na.txt,motor\nb.html,home\nc,home\nsub/../d.pdf,x\nd.pdf,life\ne.eml,home\nf.eml,home\n",
        "docs/answers.csv",
    )
    return tmp_path / "docs"


def test_every_kind_of_document(folder):
    reading = read(folder, answer="lob", limits={"rejected": 0.5})
    texts = {example.line: example.prompt for example in reading.examples}
    assert texts[2] == "Der Baum fiel auf das Auto." and texts[3] == "Größe"
    assert texts[4] == "Erster Absatz.\n\nZweiter."
    assert texts[6] == "Page of a claim"
    assert texts[7] == "From: anna@example.com\nSubject: Sturmschäden\n\nDas Dach ist beschädigt."
    assert "Das **Dach** ist beschädigt." in texts[8]
    (bad,) = reading.rejected
    assert bad.line == 5 and "“sub/../d.pdf” leads out of the folder" in bad.reason


def test_names_that_lead_out_of_the_folder(file, tmp_path):
    file("secret", "secret.txt")
    file("fine", "docs/a.txt")
    os.symlink(tmp_path / "secret.txt", tmp_path / "docs/link.txt")
    absolute = tmp_path / "secret.txt"
    names = [
        "a.txt",
        "../secret.txt",
        "..\\secret.txt",
        "link.txt",
        f"{absolute}",
        "~/x.txt",
        "",
        "secret.txt",
    ]
    rows = "".join(f'"{name}",x\n' for name in names)
    file("file,answer\n" + rows, "docs/answers.csv")
    reading = read(tmp_path / "docs", limits={"rejected": 1})
    assert [example.prompt for example in reading.examples] == ["fine"]
    reasons = [row.reason for row in reading.rejected]
    assert sum("leads out of the folder" in reason for reason in reasons) == 4
    assert "there is no document “link.txt”" in reasons and "names no document" in reasons


def test_documents_without_an_answer_are_told(folder):
    (folder / "g.txt").write_text("nobody names me")
    reading = read(folder, answer="lob", limits={"rejected": 0.5})
    assert (0, "no row of the table of answers names this document", "g.txt") in [
        (row.line, row.reason, row.raw) for row in reading.rejected
    ]


def test_the_table_may_be_elsewhere_and_template_and_columns_go_together(folder, file):
    table = file('{"file": "a.txt", "lob": "motor", "channel": "mail"}\n', "table.jsonl")
    reading = read(folder, "{channel}: {text}", "lob", answers=table, limits={"rejected": 1})
    assert reading.examples[0].prompt == "mail: Der Baum fiel auf das Auto."
    error = refused(folder, answers=file('{"doc": "a.txt", "lob": "motor"}\n', "other.jsonl"))
    assert "no column “file” that names the document" in error.problem and "name file" in error.remedy


def test_a_folder_without_a_table(folder):
    (folder / "answers.csv").unlink()
    error = refused(folder)
    assert "has no table of answers" in error.problem and "--answers" in error.remedy


def spoiled(contents, file, tmp_path, **limits):
    """What is said about documents of this content, beside twenty good ones."""
    names = [f"good{i}.txt" for i in range(4)]
    for name in names:
        file("fine", f"docs/{name}")
    for name, data in contents.items():
        file(data, f"docs/{name}")
    rows = "".join(f"{name},x\n" for name in [*contents, *names])
    file("file,answer\n" + rows, "docs/answers.csv")
    reading = read(tmp_path / "docs", limits={"rejected": 0.9, **limits})
    assert len(reading.examples) == len(names), reading.rejected
    return {row.raw.split(",")[0]: row.reason for row in reading.rejected}


def bomb(part, content):
    """A Word file in which one part is replaced."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(word("x"))) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, content if name == part else old.read(name))
    return out.getvalue()


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {new} "{("&" + old + ";") * 10}">' for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><l>&i;</l>"
)


def test_documents_that_are_damaged_or_made_to_do_harm(file, tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "LARGEST_DOCUMENT", 1_500_000)
    reasons = spoiled(
        {
            "xml.docx": bomb("word/document.xml", LAUGHS),
            "zip.docx": bomb("word/document.xml", b" " * 300_000_000),
            "half.docx": word("x")[:2000],
            "half.pdf": pdf("x")[:100],
            "empty.txt": "",
            "blank.pdf": pdf(""),
            "nul.txt": b"a text with \x00 in it",
            "other.exe": b"MZ",
            "large.txt": "x" * 2_000_000,
        },
        file,
        tmp_path,
        memory=200_000_000,
    )
    assert "holds XML entities in word/document.xml" in reasons["xml.docx"]
    assert "the memory that limits.memory allows" in reasons["zip.docx"]
    assert "cannot be read" in reasons["half.docx"] and "cannot be read" in reasons["half.pdf"]
    assert "no text" in reasons["empty.txt"] and "a scan" in reasons["blank.pdf"]
    assert "NUL" in reasons["nul.txt"]
    assert reasons["other.exe"].startswith("“other.exe” is of a kind that is not read (only .docx, .eml, ")
    assert "has 2,000,000 bytes, more than 1,500,000" in reasons["large.txt"]


def test_too_many_pages_or_characters(file, monkeypatch, longest_row):
    monkeypatch.setattr(content, "MOST_PAGES", 0)
    with pytest.raises(Unusable, match="has 1 pages, more than 0"):
        list(content.extract(str(file(pdf("x"), "a.pdf")), None, True))
    longest_row(50_000)
    with pytest.raises(Unusable, match="characters of text, more than 50,000"):
        list(content.extract(str(file("<p>" + "word " * 20_000, "a.html")), None, True))
