"""Parts of documents: what holds text is read, what holds none is named."""

import io
from email.message import EmailMessage

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import FreeText, Text
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    FloatObject,
    NameObject,
    NumberObject,
    TextStringObject,
)

from azubi.data.checks.check import check
from azubi.data.readers.reading import read
from tests.data.readers.test_documents import mail, pdf


@pytest.fixture
def document(file):
    """Reads one document; gives its text and what is said about it."""

    def take(name, content):
        file(content, f"docs/{name}")
        path = file(f"file,answer\n{name},x\n", "docs/answers.csv").parent
        reading = read(path, limits={"rejected": 1})
        text = reading.examples[0].prompt if reading.examples else reading.rejected[0].reason
        (path / name).unlink()
        return text, " ".join(reading.notes)

    return take


def field(name, kind="Tx", **more):
    entries = {"/Type": NameObject("/Annot"), "/Subtype": NameObject("/Widget")}
    entries |= {"/FT": NameObject(f"/{kind}"), "/T": TextStringObject(name)}
    entries |= {f"/{key}": value for key, value in more.items()}
    rect = ArrayObject(map(FloatObject, (0, 0, 9, 9)))
    return DictionaryObject({NameObject(key): value for key, value in {**entries, "/Rect": rect}.items()})


def strings(*texts):
    return ArrayObject(
        [strings(*each) if isinstance(each, tuple) else TextStringObject(each) for each in texts]
    )


def filled(*fields, page="Claim form", xfa=None):
    """A PDF of one page with form fields on it."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(page))))
    made = ArrayObject(writer._add_object(each) for each in fields)
    writer.pages[0][NameObject("/Annots")] = made
    entries = DictionaryObject({NameObject("/Fields"): made})
    if xfa is not None:
        stream = DecodedStreamObject()
        stream.set_data(xfa)
        parts = ArrayObject([TextStringObject("datasets"), writer._add_object(stream)])
        entries[NameObject("/XFA")] = parts
    writer.root_object[NameObject("/AcroForm")] = entries
    return written(writer)


def written(writer):
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_what_a_form_was_filled_with(document):
    above = field("person", Kids=ArrayObject())
    del above["/FT"], above["/Subtype"]
    text, notes = document(
        "a.pdf",
        filled(
            field("event", V=TextStringObject("Zündkabel zerbissen\rgestern")),
            field("empty", V=TextStringObject("")),
            field("name", V=TextStringObject("Anna"), Parent=above),
            field("witness", "Btn", V=NameObject("/Yes")),
            field("police", "Btn", AS=NameObject("/Off")),
            field("line", "Btn", V=NameObject("/1"), Opt=strings("home", "motor")),
            field("send", "Btn", Ff=NumberObject(1 << 16), V=NameObject("/Yes")),
            field("state", "Ch", V=TextStringObject("HH"), Opt=strings(("HH", "Hamburg"), ("HB", "Bremen"))),
            field("damage", "Ch", V=strings("roof", "wall")),
            field("signed", "Sig", V=DictionaryObject()),
        ),
    )
    assert text == (
        "Claim form\nevent: Zündkabel zerbissen\ngestern\nperson.name: Anna\nwitness: Yes\npolice: Off\n"
        "line: motor\nstate: Hamburg\ndamage: roof, wall"
    )
    assert not notes


def test_forms_of_adobes_own_kind(document):
    data = b"<d xmlns='x'><claim><sum>1250</sum><what>Hail</what><none/></claim></d>"
    assert document("a.pdf", filled(xfa=data))[0] == "Claim form\n\nsum: 1250\n\nwhat: Hail"
    for bad in (b"<d><sum>1", b"<!DOCTYPE d [<!ENTITY a 'b'>]><d>&a;</d>"):
        text, notes = document("a.pdf", filled(xfa=bad))
        assert text == "Claim form" and "a.pdf: 1 form in XFA" in notes


def test_comments_and_files_in_a_pdf(document):
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf("Page of a claim"))))
    writer.add_annotation(0, FreeText(text="Paid on Monday", rect=(0, 0, 50, 50)))
    writer.add_annotation(0, Text(text="Ask Anna", rect=(0, 0, 50, 50)))
    writer.add_attachment("photo.jpg", b"\xff\xd8")
    text, notes = document("a.pdf", written(writer))
    assert text == "Page of a claim\nPaid on Monday\nAsk Anna"
    assert "1 document has parts that were not read: a.pdf: 1 attachment “photo.jpg”." in notes


def scanned(pages, page="Cover letter", stamp=False):
    """A PDF whose pages after the first are pictures; with a stamp, the first one too."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(page))))
    picture = DecodedStreamObject()
    picture.set_data(b"\x00")
    kinds = {"/Type": "/XObject", "/Subtype": "/Image", "/ColorSpace": "/DeviceGray"}
    picture.update({NameObject(key): NameObject(value) for key, value in kinds.items()})
    picture.update({NameObject(f"/{key}"): NumberObject(1) for key in ("Width", "Height")})
    picture[NameObject("/BitsPerComponent")] = NumberObject(8)
    place = writer._add_object(picture)
    if stamp:
        writer.pages[0]["/Resources"][NameObject("/XObject")] = DictionaryObject({NameObject("/P"): place})
    for _ in range(pages):
        blank = writer.add_blank_page(595, 842)
        drawn = DictionaryObject({NameObject("/P"): place})
        blank[NameObject("/Resources")] = DictionaryObject({NameObject("/XObject"): drawn})
    writer.add_blank_page(595, 842)
    return written(writer)


def test_pages_without_text_are_named(document):
    text, notes = document("a.pdf", scanned(2))
    assert text.strip() == "Cover letter" and "a.pdf: 2 pages without text." in notes
    assert (
        "a.pdf: 1 page with hardly any text, 1 page without text."
        in document("a.pdf", scanned(1, "Received 12 March", stamp=True))[1]
    )
    assert "a.pdf: 1 picture." in document("a.pdf", scanned(0, "Letter of a claim " * 3, stamp=True))[1]
    assert document("a.pdf", scanned(3, ""))[0] == "the document has no text (3 pages without text)"


def word():
    out = io.BytesIO()
    made = docx.Document()
    made.sections[0].header.paragraphs[0].text = "Claim 17"
    made.sections[0].footer.paragraphs[0].add_run("Page\t1")
    made.add_comment(made.add_paragraph("The roof leaks.").runs, text="Since when?", author="A")
    made.add_picture(io.BytesIO(PICTURE))
    made.save(out)
    return out.getvalue()


PICTURE = bytes.fromhex("47494638376101000100800000ffffff0000002c00000000010001000002024401003b")
"""A GIF of one white pixel."""


def test_headers_footers_and_comments_of_word(document):
    text, notes = document("a.docx", word())
    assert text.split("\n\n")[:2] == ["Claim 17", "The roof leaks."]
    assert text.endswith("Page 1\n\nSince when?") and "a.docx: 1 picture." in notes


def test_what_was_chosen_in_a_form_of_word(document):
    entries = "".join(f'<w:listEntry w:val="{each}"/>' for each in ("home", "motor"))
    made = docx.Document()
    made.add_paragraph("Claim form")
    for name, result in (("line", '<w:result w:val="1"/>'), ("second", "")):
        choice = f'<w:name w:val="{name}"/><w:ddList>{result}{entries}</w:ddList>'
        field = f"<w:ffData {nsdecls('w')}>{choice}</w:ffData>"
        run = made.add_paragraph().add_run()
        start = parse_xml(f'<w:fldChar {nsdecls("w")} w:fldCharType="begin"/>')
        start.append(parse_xml(field))
        run._r.append(start)
    out = io.BytesIO()
    made.save(out)
    assert document("a.docx", out.getvalue())[0] == "Claim form\n\nline: motor\n\nsecond: home"


def test_what_the_fields_of_a_page_hold(document):
    text, notes = document(
        "a.html",
        "<form>Event <input value='Hail'><input type=hidden value=secret><textarea>Gone</textarea>"
        "<select><option>home<option selected>motor</select><input type=checkbox checked> paid <img src=a>",
    )
    assert all(each in text for each in ("Event", "Hail", "Gone", "motor", "[x]", "paid"))
    assert "secret" not in text and "home" not in text and "a.html: 1 picture." in notes


def forwarded(inner, depth=1):
    for number in range(depth):
        message = EmailMessage()
        message["Subject"] = f"Fwd {number}"
        message.set_content(f"See attachment {number}.")
        message.add_attachment(inner)
        inner = message
    return inner


def simple(text, html=None):
    message = EmailMessage()
    message["Subject"], message["From"] = "Sturm", "anna@example.com"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    return message


def test_mails_within_mails(document):
    text, notes = document("a.eml", bytes(forwarded(simple("Das Dach ist weg."), 2)))
    assert text == (
        "Subject: Fwd 1\n\nSee attachment 1.\n\nSubject: Fwd 0\n\nSee attachment 0.\n\n"
        "From: anna@example.com\nSubject: Sturm\n\nDas Dach ist weg."
    )
    assert not notes
    text, notes = document("a.eml", bytes(forwarded(simple("Das Dach ist weg."), 14)))
    assert "attachment 4" in text and "Dach" not in text and "1 mail attached too deep" in notes


def test_mails_attached_as_files_and_as_base64(document):
    inner = bytes(simple("Das Dach ist weg."))
    message = simple("See below.")
    message.add_attachment(inner, maintype="application", subtype="octet-stream", filename="fwd.eml")
    assert "Das Dach ist weg." in document("a.eml", bytes(message))[0]
    packed = bytes(message).replace(b"application/octet-stream", b"message/rfc822")
    assert b"base64" in packed and "Das Dach ist weg." in document("a.eml", packed)[0]


def test_all_texts_of_a_mail_and_what_is_attached_to_it(document):
    message = simple("First part.", "<p>First <b>part</b>.")
    message.make_mixed()
    second = EmailMessage()
    second.set_content("After the picture.")
    message.add_attachment(PICTURE, maintype="image", subtype="gif")
    message.attach(second)
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="bill.pdf")
    message.add_attachment("a,b", filename="list.csv")
    text, notes = document("a.eml", bytes(message))
    assert text.endswith("Sturm\n\nFirst part.\n\nAfter the picture.")
    assert "a.eml: 1 picture, 1 attachment “bill.pdf”, 1 attachment “list.csv”." in notes


def test_attachments_beside_the_form_of_a_mail_that_is_not_read(document):
    page = EmailMessage()
    page.set_content("<p>Das Dach", subtype="html")
    page.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="bill.pdf")
    page.add_attachment(simple("Ursprung"))
    message = simple("Das Dach")
    message.make_alternative()
    message.attach(page)
    text, notes = document("a.eml", bytes(message))
    assert text.count("Das Dach") == 1 and text.endswith("Ursprung") and "bill.pdf" in notes


def test_unread_parts_are_a_finding(file):
    for number in range(30):
        file(f"Letter {number} about roof {number * 7} and wall {number * 13}", f"docs/{number}.txt")
    file(scanned(2), "docs/scan.pdf")
    file(mail(), "docs/mail.eml")
    file(b"\x00", "docs/old.msg")
    names = [*(f"{number}.txt" for number in range(30)), "scan.pdf", "mail.eml", "old.msg"]
    rows = "".join(f"{name},{'ab'[len(name) % 2]}\n" for name in names)
    path = file("file,answer\n" + rows, "docs/answers.csv").parent
    result = check(path)
    (finding,) = [each for each in result.findings if each.kind == "unread_parts"]
    assert (finding.level, finding.count) == ("warning", 2)
    assert [case.lines for case in finding.cases] == [(32,), (33,)]
    assert "scan.pdf: 2 pages without text; mail.eml: 1 attachment “a.bin”" in finding.title
    (rejected,) = [each for each in result.findings if each.kind == "rejected_rows"]
    assert "“old.msg” is of a kind that is not read" in rejected.cases[0].text
    assert any("kinds that are not read: .msg (1)" in each.title for each in result.findings)
