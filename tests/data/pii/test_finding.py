"""What a check tells of personal data, and what it says was not looked for."""

from pathlib import Path

from azubi.data.example import Example, Turn
from azubi.data.pii.finding import findings, shortened

IBAN = "DE89 3704 0044 0532 0130 00"


class TrialWeights:
    """ExampleBatches in memory."""

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def batches(self, size=10_000):
        for start in range(0, len(self.examples), size):
            yield self.examples[start : start + size]


def found(examples, **told):
    (finding,) = findings(TrialWeights(examples), **told)
    return finding


def example(line, prompt, answer="ok"):
    return Example((Turn("user", prompt),), answer, line)


def test_it_counts_and_shows_the_first_five():
    examples = [example(line, f"to {IBAN} and max@firma.de" if line % 2 else "x") for line in range(1, 41)]
    finding = found([*examples, example(41, "x", IBAN)])
    assert (finding.kind, finding.level, finding.count) == ("personal_data", "warning", 21)
    assert finding.title == "21 examples hold personal data: 21 IBANs, 20 e-mail addresses."
    assert [case.lines for case in finding.cases] == [(1,), (3,), (5,), (7,), (9,)]
    assert finding.details["kinds"]["iban"] == {"rows": 21, "places": 21}


def test_it_shows_values_shortened_and_where():
    assert found([example(1, IBAN)]).cases[0].text == "IBAN DE…00 in the prompt"
    assert found([example(1, "x", IBAN)]).cases[0].text == "IBAN DE…00 in the answer"
    assert IBAN not in found([example(1, IBAN)]).model_dump_json()
    assert [shortened(one) for one in ("abc", "abcd", "abcdefgh")] == ["…", "a…d", "ab…gh"]


def test_it_says_what_was_not_looked_for():
    for examples in ([example(1, "Erika Muster")], [example(1, IBAN)]):
        finding = found(examples)
        assert "Names of people are not looked for" in finding.why and "addresses" in finding.why
        assert finding.details["not_looked_for"]
    assert (found([]).count, found([]).level) == (0, "note")


def test_it_looks_for_what_the_company_says():
    finding = found([example(1, "P-12345678")], patterns={"policy": r"P-\d{8}"})
    assert finding.count == 1 and "1 match of “policy”" in finding.title
    assert "policy" in finding.details["looked_for"]


def test_many_processes_tell_the_same():
    examples = [example(line, IBAN if line % 3 else "x") for line in range(5000)]
    assert found(examples, processes=2) == found(examples, processes=1)


def test_names_are_told_to_be_the_recognisers(monkeypatch):
    monkeypatch.setattr("azubi.data.pii.names.Names.find_all", lambda self, texts: [[] for _ in texts])
    finding = found([example(1, IBAN)], names=Path("ner"))
    assert (
        "as well as the recogniser in ner finds them" in finding.why
        and "not looked for either" not in finding.why
    )
