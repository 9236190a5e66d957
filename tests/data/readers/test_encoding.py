"""In which encoding text is read: guessed from all of it, or named; a guess is told."""

# ruff: noqa: RUF001 (the letters are meant)

from email.message import EmailMessage

import pytest

from azubi.data.readers.reading import read
from azubi.data.readers.text import guess_encoding

GERMAN = "Der Kotflügel ist beschädigt. Grüße aus Köln, die Straße war nass. Ärger über „Äpfel“."
POLISH = "Samochód został uszkodzony, proszę o zwrot kosztów. Łódź, źdźbło, mąż i ćma."
FRENCH = "Le pare-brise a été cassé hier, où est l’hôtel ? Ça coûte cher, à régler dès réception."
TURKISH = "Arabamın camı kırıldı, şirketiniz ödeyecek mi? Güneş doğdu, İstanbul."
RUSSIAN = "Лобовое стекло моей машины разбито, прошу возместить ущерб."
LETTERS = ["Kotflügel", "Fahrräder", "Köln", "Stoßstange", "überschwemmt", "für", "Grüße", "Äste", "Öl"]


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        *((GERMAN, codec) for codec in ("cp1252", "mac_roman", "cp850", "cp437")),
        *((POLISH, codec) for codec in ("cp1250", "iso8859_2", "cp852")),
        *((FRENCH, codec) for codec in ("cp1252", "mac_roman")),
        *((RUSSIAN, codec) for codec in ("cp1251", "koi8_r", "cp866")),
        (TURKISH, "cp1254"),
        ("車のフロントガラスが割れました。修理費を払ってください。", "shift_jis"),
        ("我的汽车挡风玻璃被打碎了，请赔偿损失。谢谢您的帮助。", "gb18030"),
    ],
)
def test_the_encoding_in_which_letters_are_those_of_a_language(text, codec):
    data = text.encode(codec, "ignore")
    guess = guess_encoding(data)
    assert data.decode(guess.name, "replace") == data.decode(codec)
    assert not guess.sure and guess.example in data.decode(codec) and not guess.example.isascii()


@pytest.mark.parametrize("word", LETTERS)
def test_one_german_word_is_enough_for_windows(word):
    data = f"Bitte {word} melden".encode("cp1252")
    assert data.decode(guess_encoding(data).name) == f"Bitte {word} melden"


def folder(file, documents, **settings):
    """What is read from a folder of these documents, by name."""
    for name, content in documents.items():
        file(content, f"docs/{name}")
    rows = "".join(f"{name},x\n" for name in documents)
    path = file("file,answer\n" + rows, "docs/answers.csv").parent
    reading = read(path, limits={"rejected": 1}, **settings)
    texts = [example.prompt for example in reading.examples]
    return dict(zip(documents, texts, strict=False)), reading


def letters(codec, end=""):
    return {f"{number}{end}.txt": f"Betreff: {word}.".encode(codec) for number, word in enumerate(LETTERS)}


@pytest.mark.parametrize("codec", ["cp1252", "mac_roman", "cp850"])
def test_short_letters_are_guessed_together(file, codec):
    texts, reading = folder(file, {**letters(codec), "u.txt": "In UTF-8: Müll", "a.txt": "plain"})
    assert list(texts.values()) == [*(f"Betreff: {word}." for word in LETTERS), "In UTF-8: Müll", "plain"]
    (note,) = reading.notes
    assert "9 documents read as" in note and "“Kotflügel” in 0.txt" in note and "--encoding" in note


def test_letters_that_the_guess_does_not_fit_are_named(file):
    _, reading = folder(file, {**letters("cp1252"), "mac.txt": "Zwei Hühner für Köln".encode("mac_roman")})
    (note,) = reading.notes
    assert "10 documents read as cp1252" in note and "Doubtful are “HŸhner” in mac.txt" in note


def test_what_is_named_counts_for_every_kind_of_text(file):
    body = "Grüße aus Köln"
    odd = body.encode("cp437")
    message = b"From: a@b.de\nSubject: " + "Öl".encode("cp437") + b"\n\n" + odd
    packed = EmailMessage()
    packed.set_content(odd, "text", "plain", cte="quoted-printable")
    documents = {
        "a.txt": odd,
        "b.md": odd,
        "c.html": b"<p>" + odd,
        "d.eml": message,
        "e.eml": bytes(packed),
        "f.txt": f"In UTF-8: {body}",
        "g.html": '<meta charset="koi8-r"><p>Привет'.encode("koi8_r"),
    }
    texts, reading = folder(file, documents, encoding="cp437")
    assert [texts[name] for name in ("a.txt", "b.md", "c.html", "e.eml")] == [body] * 4
    assert texts["d.eml"] == f"From: a@b.de\nSubject: Öl\n\n{body}"
    assert texts["f.txt"] == f"In UTF-8: {body}" and texts["g.html"] == "Привет"
    (note,) = reading.notes
    assert "1 document read as UTF-8, e.g. “Grüße” in f.txt, though --encoding says cp437" in note
    _, reading = folder(file, documents, encoding="utf-8")
    assert len(reading.rejected) == 5 and all("utf-8 text (" in row.reason for row in reading.rejected)


def test_the_table_of_answers_is_read_as_it_is_named(file):
    file("Ein Brief", "docs/ä.txt")
    table = "file,answer\nä.txt,Müll\n"
    for content, settings in (
        (table.encode("cp437"), {"encoding": "cp437"}),
        (table.encode(), {"encoding": "cp437"}),
        (table.encode("cp1252"), {}),
    ):
        path = file(content, "docs/answers.csv").parent
        reading = read(path, **settings)
        assert [example.answer for example in reading.examples] == ["Müll"]
        assert len(reading.notes) == (content != table.encode("cp437"))


def test_pages_and_mails_that_name_a_wrong_encoding(file):
    texts, reading = folder(
        file,
        {
            "a.html": '<meta charset="iso-8859-1"><p>Für 5 €'.encode(),
            "b.html": '<meta charset="iso-8859-1"><p>Für 5 €'.encode("cp1252"),
            "c.eml": b"Content-Type: text/plain; charset=us-ascii\n\n" + "Für Müller".encode("cp1252"),
            "d.eml": b"Content-Type: text/plain; charset=x-unknown\n\n" + "Für Müller".encode("cp1252"),
        },
    )
    assert list(texts.values()) == ["Für 5 €", "Für 5 €", "Für Müller", "Für Müller"]
    assert "2 documents read as cp1252" in reading.notes[0] and len(reading.notes) == 1
