"""The checks of record answers together: schema, who breaks it, rules, who contradicts them."""

import json

import pytest

from azubi.data.example import Example, Turn
from azubi.data.records import check_records
from tests.data.rules.test_proposing import records


class Batches:
    """A data set in batches of 70."""

    def __init__(self, answers):
        self.rows = [
            Example((Turn("user", "x"),), answer, line) for line, answer in enumerate(answers, start=2)
        ]

    def __len__(self):
        return len(self.rows)

    def batches(self, size=70):
        for start in range(0, len(self.rows), 70):
            yield self.rows[start : start + 70]


@pytest.fixture(scope="module")
def answers():
    rows = records(300)
    rows[10]["sum"] = -1.0
    rows[20]["amount"] = "many"
    return [json.dumps(row) for row in rows] + ["no record", "{"]


def found(answers, **more):
    return {one.kind: one for one in check_records(Batches(answers), **more)}


def test_all_that_stands_in_records_is_found(answers):
    told = found(answers)
    assert set(told) == {"schema", "breaks_schema", "hidden_rules"}
    assert told["schema"].title.startswith("300 records of 19 fields")
    assert "line: one of 3 texts (motor, pet, travel)" in [one.text for one in told["schema"].cases]
    assert [one.lines for one in told["breaks_schema"].cases] == [(22,)]
    assert "sum" in told["hidden_rules"].details["derive"]
    assert set(told["hidden_rules"].details["derive"]) >= {"band", "desk", "queue", "sum", "tax", "missing"}
    assert "otherwise" in told["hidden_rules"].title
    assert any(
        "sum is -1.0, but the rule gives" in one.text for one in told["hidden_rules"].cases[:5]
    ) or any("sum is -1.0" in one["text"] for one in told["hidden_rules"].details["contradicting"])


def test_given_rules_and_schemas_are_checked_against(answers):
    told = found(answers, derive={"sum": "net + fee"}, schema={"properties": {"line": {"enum": ["pet"]}}})
    assert told["contradicts_rule"].count == 1
    assert told["contradicts_rule"].cases[0].lines == (12,)
    assert told["breaks_schema"].count > 100
    assert "given" in told["schema"].title
    assert "sum" not in told["hidden_rules"].details["derive"]


def test_without_records_there_is_nothing_to_say():
    assert found(["a", "b", "[1]", "{"]) == {}
