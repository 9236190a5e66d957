"""Derived fields: taken out of what is learned, put into what is answered, checked against examples."""

import json

import pytest

from azubi.data.contract import Contract, infer
from azubi.data.example import Example, Turn
from azubi.data.rules import derivation
from azubi.data.rules.derivation import Completed, Derivation
from azubi.errors import DataError, SettingError

FIELDS = ("line", "team", "amount", "reserve", "date")
TEAM = 'amount > 5000 ? "S7" : "K3"'


def contract(derived, schema=None):
    return Contract(task="json", fields=FIELDS, derived=derived, json_schema=schema or {})


def numbers(**kinds):
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in kinds.items()}}


def test_a_derived_field_stands_at_its_place_and_what_the_model_said_of_it_is_dropped():
    done = Derivation(contract({"team": TEAM})).complete({"amount": 6000, "line": "pet", "team": "?", "x": 1})
    assert list(done.record.items()) == [("line", "pet"), ("team", "S7"), ("amount", 6000), ("x", 1)]
    assert done.notes == ()


def test_a_missing_input_leaves_the_field_out_and_null_makes_it_null():
    derive = Derivation(contract({"team": TEAM})).complete
    assert derive({"line": "pet"}) == Completed({"line": "pet"}, ("team is left out: amount is missing.",))
    assert derive({"amount": None}) == Completed(
        {"team": None, "amount": None}, ("team is null: amount is null.",)
    )
    derived = derive({"amount": "much"})
    assert derived.record == {"amount": "much"}
    assert "team is left out: with amount = “much” it mixes kinds" in derived.notes[0]


def test_rules_may_read_derived_fields_in_any_order():
    rules = {"team": 'reserve > 100.0 ? "S7" : "K3"', "reserve": "amount * 1.5"}
    derive = Derivation(contract(rules, numbers(amount="number", reserve="number"))).complete
    assert derive({"amount": 100}).record == {"team": "S7", "amount": 100, "reserve": 150.0}
    assert derive({}).notes == (
        "reserve is left out: amount is missing.",
        "team is left out: reserve is missing.",
    )


def test_numbers_are_what_the_schema_says_whatever_the_model_wrote():
    whole = Derivation(contract({"reserve": "amount * 2"}, numbers(amount="integer", reserve="integer")))
    assert whole.complete({"amount": 1200.0}).record["reserve"] == 2400
    broken = Derivation(contract({"reserve": "amount * 1.19"}, numbers(amount="number", reserve="number")))
    assert broken.complete({"amount": 100}).record["reserve"] == 119.0
    huge = broken.complete({"amount": 10**400})
    assert "reserve" not in huge.record and huge.notes


@pytest.mark.parametrize(
    ("derived", "words"),
    [
        ({"tem": "1"}, "“tem”, which is no field"),
        ({"team": "reserve", "reserve": "team"}, "circle: (team → reserve → team|reserve → team → reserve)"),
        ({"team": "team"}, "circle: team → team"),
        (dict.fromkeys(FIELDS, "1"), "nothing is left to learn"),
    ],
)
def test_rules_that_cannot_be_are_refused(derived, words):
    with pytest.raises(SettingError, match=words):
        Derivation(contract(derived))


def test_only_records_can_have_derived_fields():
    with pytest.raises(SettingError, match="not JSON records"):
        Derivation(Contract(task="labels", labels=("a", "b"), derived={"team": TEAM}))


def test_examples_are_taught_without_derived_fields():
    given = Example((Turn("user", "x"),), '```json\n{"line": "Haß",\n "team": "K3", "amount": 12.50}\n```', 7)
    (taught,) = Derivation(contract({"team": TEAM})).without_derived([given])
    assert taught.answer == '{"line": "Haß", "amount": 12.5}'
    assert (taught.line, taught.turns) == (7, given.turns)


def test_earlier_answers_that_are_learned_are_taught_without_derived_fields_too():
    said = '{"amount": 1, "team": "K3"}'
    turns = (
        Turn("user", said),
        Turn("assistant", said, learned=True),
        Turn("assistant", said),
        Turn("assistant", "Just a moment.", learned=True),
        Turn("user", "and now?"),
    )
    (taught,) = Derivation(contract({"team": TEAM})).without_derived([Example(turns, said)])
    expected = (said, '{"amount": 1}', said, "Just a moment.", "and now?")
    assert tuple(turn.content for turn in taught.turns) == expected


ROWS = [
    (1, {"amount": 6000, "team": "S7"}),
    (2, {"amount": 5000, "team": "S7"}),
    (3, {"amount": 10, "team": "K3"}),
    (4, {"amount": 10}),
    (5, {"amount": None, "team": None}),
    (6, {"amount": None, "team": "K3"}),
    (7, {"team": "K3"}),
    (8, {}),
]


def test_records_that_contradict_a_rule_are_found_with_line_and_reason():
    finding = derivation.contradictions(contract({"team": TEAM}), ROWS)
    assert finding is not None
    assert (finding.kind, finding.count, finding.details) == ("contradicts_rule", 4, {"fields": {"team": 4}})
    assert [(case.lines, case.text) for case in finding.cases] == [
        ((2,), 'team is "S7", but the rule gives "K3"'),
        ((4,), 'team is missing, but the rule gives "K3"'),
        ((6,), 'team is "K3", but the rule gives null'),
        ((7,), 'team is "K3", but the rule gives nothing: amount is missing'),
    ]
    assert derivation.contradictions(contract({"team": TEAM}), [ROWS[0], ROWS[2], ROWS[4], ROWS[7]]) is None


def test_fractions_are_the_same_if_all_digits_that_count_are():
    rules = contract({"reserve": "amount + fee"}).model_copy(update={"fields": ("amount", "fee", "reserve")})
    assert derivation.contradictions(rules, [(1, {"amount": 0.1, "fee": 0.2, "reserve": 0.3})]) is None


def test_a_rule_that_never_gives_a_value_is_an_error_that_says_why():
    records = [{"amount": 1.5, "reserve": 3.0}, {"amount": 2.5, "reserve": 5.0}]
    rules = contract({"reserve": "amount * 2"}, numbers(amount="number", reserve="number"))
    with pytest.raises(DataError, match="none of 2 records: with amount = 1"):
        Derivation(rules).check_possible(records)
    Derivation(rules).check_possible([*records, {"amount": 2}][:0])


def test_a_rule_that_nearly_all_records_contradict_is_an_error():
    records = [{"amount": n, "team": "A"} for n in range(10)]
    with pytest.raises(DataError, match="10 of 10 records"):
        Derivation(contract({"team": '"B"'})).check_possible(records)


def test_the_contract_survives_being_written_and_read():
    contract = infer([json.dumps({"a": n, "b": "x"}) for n in range(9)]).deriving({"b": '"x"'})
    assert Contract.model_validate_json(contract.model_dump_json()) == contract
    assert (contract.fields, contract.learned) == (("a", "b"), ("a",))
