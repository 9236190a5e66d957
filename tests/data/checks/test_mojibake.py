"""Letters that were decoded wrongly before the data came here."""

import pytest

from azubi.data.checks.texts import first_fault
from tests.data.checks.company import checked, clean, later
from tests.data.checks.test_check import alone, asking, lines


def misread(text, codec, times=1):
    for _ in range(times):
        text = "".join(bytes([byte]).decode(codec, "ignore") or chr(byte) for byte in text.encode())
    return text


@pytest.mark.parametrize("codec", ["cp1252", "latin-1", "mac_roman", "cp850", "cp437"])
@pytest.mark.parametrize("word", ["Müller", "für", "Straße", "Übel", "12€", "„Hallo“", "café", "Łódź", "😊"])
def test_utf8_read_as_something_older(word, codec):
    fault = first_fault(f"Ein {misread(word, codec)} Brief")
    assert fault is not None and fault.mended == word and "UTF-8 was read as" in fault.cause


def test_twice_and_lost_letters():
    fault = first_fault(misread("Müller", "cp1252", 2))
    assert fault is not None and (fault.mended, fault.cause) == ("Müller", "UTF-8 was read as cp1252 twice")
    fault = first_fault("Herr M\ufffdller")
    assert fault is not None and (fault.word, fault.mended) == ("M\ufffdller", "")


@pytest.mark.parametrize("codec", ["cp850", "mac_roman", "cp437"])
@pytest.mark.parametrize("word", ["Kotflügel", "Köln"])
def test_windows_read_as_something_older(word, codec):
    fault = first_fault(word.encode("cp1252").decode(codec))
    assert fault is not None and fault.mended == word


@pytest.mark.parametrize(
    "text",
    [
        *("Spaß“ sagt er", "das „Ä“ fehlt", "100 m³ groß", "naïve café – “quoted”…", "İstanbul güneş"),
        *(
            "Ça coûte 5 €",
            "NÃO",
            "Łódź źdźbło",
            "5 ÷ 3, 10‰",
            "O’Neil·Co",
            "Приветствие",
            "日本語",
            "Señor Ñandú",
        ),
    ],
)
def test_what_is_right_is_left_alone(text):
    assert first_fault(text) is None


def test_it_is_a_finding_with_count_cause_and_what_it_was():
    rows = clean()
    for place in (10, 20, 30):
        rows[place] = asking(rows[place], f"{rows[place].prompt} Grüße, {misread('Müller', 'cp1252')}")
    finding = alone(checked(rows), "mojibake")
    assert finding.count == 3 and lines(finding) == [(12,), (22,), (32,)]
    assert "“MÃ¼ller”, which was “Müller”" in finding.title and "UTF-8" in finding.remedy
    tests = later()
    tests[0] = asking(tests[0], f"{tests[0].prompt} {misread('für', 'cp1252')}")
    assert alone(checked(clean(), tests), "mojibake_test").count == 1
