"""Report, mask, pseudonym, refuse: in examples and in questions; and what a check says."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azubi.data.example import Example, Turn
from azubi.data.pii import kinds, scanner
from azubi.data.pii.policy import Questions, Rules, apply, findings, shortened
from azubi.data.pii.scanner import Scanner
from azubi.errors import DataError
from tests.data.pii.values import LEADS, MAKERS, values

KEY = bytes(range(32))
IBAN, OTHER = "DE89 3704 0044 0532 0130 00", "DE02 1203 0000 0000 2020 51"
PATTERNS = {"policy": r"P-\d{8}"}


def example(prompt, answer="ok", line=0, **more):
    return Example((Turn("user", prompt),), answer, line, **more)


def redacted(prompt, rule, answer="ok", **more):
    (changed,) = apply([example(prompt, answer, **more)], Rules(rule, PATTERNS, key=KEY)).examples
    return changed


texts = st.lists(
    values.map(lambda value: LEADS.get(value[0], "") + value[1])
    | st.sampled_from(
        ["P-12345678", "am 01.02.2024", "[IBAN]", "1.234,50 EUR", "{", "Tel.", "12", "-", "@", "(at)"]
    )
    | st.text(max_size=12),
    max_size=6,
).map(" ".join)


def test_report_changes_nothing_and_counts():
    examples = [example(f"{IBAN} {OTHER}", line=1), example("nothing", line=2), example("x", IBAN, line=3)]
    done = apply(examples, Rules("report"))
    assert done.examples == tuple(examples)
    assert (done.tally.rows, done.tally.touched, done.tally.lines) == (3, 2, [1, 3])
    assert done.tally.summary == "3 IBANs" and done.tally.rows_by_kind == {kinds.IBAN: 2}


def test_refuse_names_how_many_and_the_first_lines():
    examples = [example(IBAN if line % 2 else "x", line=line) for line in range(1, 21)]
    with pytest.raises(DataError) as caught:
        apply(examples, Rules("refuse"))
    assert "10 of 20 examples" in caught.value.problem and "line 1, 3, 5, 7, 9 …" in caught.value.problem
    assert "10 IBANs" in caught.value.problem and "mask" in caught.value.remedy
    assert apply(examples[1:2], Rules("refuse")).examples == tuple(examples[1:2])


def test_mask_puts_placeholders_into_every_part():
    original = Example(
        (Turn("user", f"to {IBAN}"), Turn("assistant", IBAN, True), Turn("user", "P-12345678")),
        f"at {IBAN}.",
        7,
    )
    (done,) = apply([original], Rules("mask", PATTERNS, key=KEY)).examples
    assert [turn.content for turn in done.turns] == ["to [IBAN]", "[IBAN]", "[policy]"]
    assert [turn.learned for turn in done.turns] == [False, True, False]
    assert (done.answer, done.line, [turn.role for turn in done.turns]) == (
        "at [IBAN].",
        7,
        ["user", "assistant", "user"],
    )


@pytest.mark.parametrize("rule", ["mask", "pseudonym"])
def test_groups_and_keys_stay_apart_and_together(rule):
    many = [example("x", group=f"P-{number % 3:08d}", key=f"P-{number:08d}") for number in range(9)]
    done = apply(many, Rules(rule, PATTERNS, key=KEY)).examples
    groups = [example.group for example in done]
    assert len(set(groups)) == 3 and groups[:3] == groups[3:6] and len({example.key for example in done}) == 9
    assert not set(groups) & {example.group for example in many}


def test_a_value_has_one_pseudonym_in_prompt_answer_and_other_rows():
    first, second = apply(
        [example(f"from {IBAN}", f"paid to {IBAN.replace(' ', '')}"), example(f"{IBAN}?", OTHER)],
        Rules("pseudonym", key=KEY),
    ).examples
    pseudonym = first.prompt.removeprefix("from ")
    assert pseudonym != IBAN and first.answer == f"paid to {pseudonym.replace(' ', '')}"
    assert second.prompt == f"{pseudonym}?" and second.answer not in (OTHER, pseudonym)


@given(texts)
def test_masking_is_done_once(text):
    masked = redacted(text, "mask").prompt
    assert redacted(masked, "mask").prompt == masked
    assert not Scanner(PATTERNS).find(masked)


@given(texts)
def test_pseudonyms_leave_nothing_of_what_was_found(text):
    done = redacted(text, "pseudonym").prompt
    for span in Scanner(PATTERNS).find(text):
        assert done.count(span.of(text)) < text.count(span.of(text)), span


@given(texts, st.sampled_from(["mask", "pseudonym"]))
def test_digits_of_other_scripts_are_hidden_too(text, rule):
    odd = text.translate(
        {ord("0") + digit: 0xFF10 + digit for digit in range(10)} | {0x20: 0xA0, 0x2D: 0x2011}
    )
    done = redacted(odd, rule).prompt
    for span in Scanner(PATTERNS).find(odd):
        assert done.count(span.of(odd)) < odd.count(span.of(odd))


@given(values, st.sampled_from(["mask", "pseudonym"]))
def test_json_stays_json(value, rule):
    kind, text = value
    record = {"note": f'line\n{LEADS.get(kind, "")}{text}\t"ü"', "plain": 1, "number": 4111111111111111}
    for ascii_only in (True, False):
        written = json.dumps(record, ensure_ascii=ascii_only)
        done = json.loads(redacted("x", rule, written).answer)
        assert text not in done["note"] and done["note"].startswith("line\n") and done["plain"] == 1
        assert done["number"] == "[CARD]" if rule == "mask" else isinstance(done["number"], int)


def test_many_processes_do_what_one_does():
    rng = random.Random(0)
    many = [
        example(f"{LEADS.get(kind, '')}{MAKERS[kind](rng)}", line=line)
        for line in range(700)
        for kind in MAKERS
    ]
    rule = Rules("pseudonym", PATTERNS, key=KEY)
    alone, two = (apply(many, rule, processes=count) for count in (1, 2))
    assert 4 * len(many) > scanner.ENOUGH
    assert alone == two and alone.tally.touched == len(many)


# Questions


def hidden(question, rule, key=KEY):
    ((turns, re_identifier),) = Questions(Rules(rule, PATTERNS, key=key)).hidden([(Turn("user", question),)])
    return turns[0].content, re_identifier


def test_a_question_is_hidden_as_the_examples_were():
    for rule in ("mask", "pseudonym"):
        assert hidden(f"{IBAN} P-12345678", rule)[0] == redacted(f"{IBAN} P-12345678", rule).prompt
    for rule in ("report", "refuse"):
        assert hidden(IBAN, rule)[0] == IBAN


def test_an_answer_gets_back_what_its_question_brought():
    question = f"{IBAN}, Tel. 0170 1234567, max@firma.de, P-12345678, Kennzeichen B-AB 123"
    asked, re_identifier = hidden(question, "pseudonym")
    assert asked != question and re_identifier.text(asked) == question
    bare = asked.partition(",")[0].replace(" ", "").lower()
    assert re_identifier.text(f"to {bare}!") == f"to {IBAN.replace(' ', '').lower()}!"


def test_what_another_question_brought_is_not_shown():
    asked, _ = hidden(IBAN, "pseudonym")
    _, re_identifier = hidden(OTHER, "pseudonym")
    assert re_identifier.text(f"to {asked}") == f"to {asked}"


def test_masks_are_not_taken_for_anybodys():
    _, re_identifier = hidden(IBAN, "mask")
    assert re_identifier.text("to [IBAN]") == "to [IBAN]"


# What a check says


def finding_of(examples, **settings):
    (finding,) = findings(list(examples), **settings)
    return finding


def test_it_counts_and_shows_the_first_five():
    examples = [
        example(f"to {IBAN} and max@firma.de" if line % 2 else "x", line=line) for line in range(1, 41)
    ]
    finding = finding_of([*examples, example("x", IBAN, 41)])
    assert (finding.kind, finding.level, finding.count) == ("personal_data", "warning", 21)
    assert finding.title == "21 examples hold personal data: 21 IBANs, 20 e-mail addresses."
    assert [case.lines for case in finding.cases] == [(1,), (3,), (5,), (7,), (9,)]
    assert finding.details["kinds"]["iban"] == {"rows": 21, "places": 21}


def test_it_shows_values_shortened_and_where():
    assert finding_of([example(IBAN, line=1)]).cases[0].text == "IBAN DE…00 in the prompt"
    assert finding_of([example("x", IBAN, 1)]).cases[0].text == "IBAN DE…00 in the answer"
    assert IBAN not in finding_of([example(IBAN, line=1)]).model_dump_json()
    assert [shortened(text) for text in ("abc", "abcd", "abcdefgh")] == ["…", "a…d", "ab…gh"]


def test_it_says_what_was_not_looked_for():
    for examples in ([example("Erika Muster", line=1)], [example(IBAN, line=1)]):
        finding = finding_of(examples)
        assert "Names of people are not looked for" in finding.why and "addresses" in finding.why
        assert finding.details["not_looked_for"]
    assert (finding_of([]).count, finding_of([]).level) == (0, "note")


def test_it_looks_for_what_the_company_says():
    finding = finding_of([example("P-12345678", line=1)], patterns={"policy": r"P-\d{8}"})
    assert finding.count == 1 and "1 match of “policy”" in finding.title
    assert "policy" in finding.details["looked_for"]


def test_names_are_told_to_be_the_recognisers(monkeypatch):
    monkeypatch.setattr(
        "azubi.data.pii.scanner.NameRecogniser.find_all", lambda self, texts: [[] for _ in texts]
    )
    finding = finding_of([example(IBAN, line=1)], names=Path("ner"))
    assert (
        "as well as the recogniser in ner finds them" in finding.why
        and "not looked for either" not in finding.why
    )
