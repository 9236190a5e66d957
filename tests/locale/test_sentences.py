"""Every English text that people read has a German one, and none is changed beyond that."""

import ast
import re
import string

import pytest

from azubi.errors import SettingError
from azubi.locale.current import chosen, current, translated, using
from azubi.locale.locale import catalogue
from azubi.locale.sentences import translation
from tests.locale import messages

# What programs and models read, texts of licences, names of faults.
NOT_FOR_PEOPLE = re.compile(
    r"(SELECT|UPDATE|DELETE) .*|--quiet .*|The MIT License.*|(Copyright|Llama 2 is) .*|\{name\} == null .*"
    r"|(Read the message and|Answer with|You (answer|sort|read) messages|What is this message).*"
    r"|record|database|duration|rules|separator|gate|folders|\{n\}  .*",
    re.DOTALL,
)


def gaps(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_every_text_that_people_read_has_a_german_one() -> None:
    known = messages.translations()
    lacking = {text: place for text, place in messages.shown().items() if text not in known}
    lacking = {text: place for text, place in lacking.items() if not NOT_FOR_PEOPLE.fullmatch(text)}
    assert not lacking, "python -m tests.locale.messages prints them as the catalogue wants them"


def test_german_texts_have_the_same_gaps_and_an_english_text_in_the_code() -> None:
    written = messages.written()
    by_hand = {message.id for message in catalogue("de") if message.auto_comments}
    for english, german in messages.translations().items():
        assert german.strip() and gaps(english) == gaps(german), english
        assert {conversion for _, _, _, conversion in string.Formatter().parse(german)} <= {None, *"tnwd"}
        assert english in written or english in by_hand, f"no text in the code any more: {english}"


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("There is no specialist kfz in /home/a.", "Es gibt in /home/a keinen Spezialisten kfz."),
        (
            "1 prompt has more than one answer (2 examples, 0.5 %).",
            "1 Frage hat mehr als eine Antwort (2 Beispiele, 0,5 %).",
        ),
        ("lines 1,203 and 5", "Zeilen 1.203 und 5"),
        (
            "3 of 1,200 examples hold personal data: 2 phone numbers, 1 IBAN. Placeholders took its place.",
            "3 von 1.200 Beispielen enthalten personenbezogene Daten: 2 Telefonnummern, 1 IBAN. Platzhalter "
            "traten an ihre Stelle.",
        ),
        ("The base is minilm, which reads English: 99 % of the prompts are English.", None),
    ],
)
def test_a_sentence_is_recognised_with_its_values_in_it(english: str, german: str | None) -> None:
    expected = german or "Das Basismodell ist minilm, das Englisch liest: 99 % der Fragen sind auf Englisch."
    assert translation("de", english) == expected
    assert translation("en", english) == english


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a text that nobody wrote: 1,250.50 and the base", None),
        ("“The answer is yes: no.”", "„The answer is yes: no.“"),
        ("→ “none of the 3 labels, 1,000 rows” (line 2)", "→ „none of the 3 labels, 1,000 rows“ (Zeile 2)"),
        ("There is no specialist a in b in c.", None),  # which of them is the name?
    ],
)
def test_what_people_brought_stays_as_it_is(text: str, shown: str | None) -> None:
    assert translation("de", text) == (shown or text)


@pytest.mark.parametrize(
    ("arguments", "environment", "lang"),
    [
        ([], {}, "en"),
        ([], {"LANG": "de_DE.UTF-8"}, "de"),
        ([], {"LANG": "de_DE.UTF-8", "LC_MESSAGES": "en_GB"}, "en"),
        ([], {"LANG": "fr_FR.UTF-8"}, "en"),
        ([], {"LC_ALL": "de_AT@euro", "LANG": "C"}, "de"),
        ([], {"LANG": "de_DE.UTF-8", "AZUBI_LANG": "en"}, "en"),
        (["--lang", "de", "check"], {"AZUBI_LANG": "en"}, "de"),
        (["check", "a.csv", "--lang=en"], {"LANG": "de"}, "en"),
        (["ask", "a", "--", "--lang", "de"], {}, "en"),
    ],
)
def test_which_language_holds(arguments: list[str], environment: dict[str, str], lang: str) -> None:
    assert chosen(arguments, environment) == lang


@pytest.mark.parametrize(("arguments", "environment"), [(["--lang", "fr"], {}), ([], {"AZUBI_LANG": "fr"})])
def test_a_language_that_is_not_here_is_refused_with_those_that_are(
    arguments: list[str], environment: dict[str, str]
) -> None:
    with pytest.raises(SettingError, match=r"“fr”.* en \(English\), de \(Deutsch\)"):
        chosen(arguments, environment)


def test_a_language_holds_no_longer_than_it_should() -> None:
    with using("de"):
        assert (current().lang, translated("best so far")) == ("de", "bisher am besten")
    assert (current().lang, translated("best so far")) == ("en", "best so far")


def test_headings_and_actions_have_german_ones() -> None:
    known, actions = (
        catalogue("de"),
        ("register", "promote", "promote (forced)", "export", "rollback", "sign"),
    )
    calls = (
        node
        for path in (messages.PACKAGE / "cli").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
    )
    headings = {
        argument.value.lstrip(">")
        for node in calls
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "plain_table"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }
    assert len(headings) > 20
    assert [text for text in (*headings - {"", "#", "id"}, *actions, "delete") if not known.get(text)] == []
