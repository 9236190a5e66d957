"""Rules hidden in records: found where there are some, and not where there are none."""

import random
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azubi.cli.recipe_file import recipe_from
from azubi.data.contract import Contract
from azubi.data.rules import derivation
from azubi.data.rules.derivation import Derivation, contradictions, propose

DEDUCTIBLES = {"motor": 300, "pet": 120, "travel": 100}
WANTED = {"motor": ["quote", "photos"], "pet": ["vet"], "travel": ["photos", "bill"]}


def records(count=600, seed=0):
    """Claims of an office with many habits."""
    dice = random.Random(seed)
    return [record(dice, number) for number in range(count)]


def record(dice, number):
    line = dice.choice(sorted(DEDUCTIBLES))
    amount = None if dice.random() < 0.05 else dice.randrange(10, 9_000)
    net = dice.randrange(100, 200_000) / 100
    fee = dice.randrange(100, 5_000) / 100
    day = date(2026, 1, 1) + timedelta(days=dice.randrange(300))
    papers = [kind for kind in ("quote", "photos", "vet", "bill", "poem") if dice.random() < 0.5]
    member = dice.random() < 0.3
    known = 0 if amount is None else amount
    return {
        "number": 10_000 + number,
        "customer": f"customer {number}",
        "line": line,
        "code": {"motor": "KS41", "pet": "MD28", "travel": "HT47"}[line],
        "amount": amount,
        "member": member,
        "net": net,
        "fee": fee,
        "tax": round(0.19 * net, 2),
        "sum": round(net + fee, 2),
        "day": day.isoformat(),
        "due": (day + timedelta(days=14)).isoformat(),
        "papers": papers,
        "missing": [document for document in WANTED[line] if document not in papers],
        "band": None if amount is None else "R1" if amount < 1_000 else "R2" if amount < 4_000 else "R3",
        "desk": "small" if amount is not None and amount < DEDUCTIBLES[line] else f"desk {line}",
        "queue": "fast" if member or known >= 5_000 else "slow",
        "weather": dice.choice(("rain", "sun")),
        "version": 3,
    }


@pytest.fixture(scope="module")
def proposals():
    return {rule.field: rule for rule in propose(records())}


def test_every_rule_is_found_and_nothing_else(proposals):
    assert set(proposals) == {"code", "tax", "sum", "due", "missing", "band", "desk", "queue"}
    assert all(rule.right >= 0.99 for rule in proposals.values())


def test_rules_are_readable_and_have_round_limits(proposals):
    assert proposals["tax"].rule == "round(net * 0.19, 2)"
    assert proposals["sum"].rule == "net + fee"
    assert proposals["due"].rule == "date(day) + days(14)"
    assert proposals["code"].rule == '{"motor": "KS41", "pet": "MD28", "travel": "HT47"}[line]'
    assert "1000" in proposals["band"].rule and "4000" in proposals["band"].rule
    assert "5000" in proposals["queue"].rule
    assert proposals["missing"].inputs == ("line", "papers")
    assert proposals["desk"].inputs == ("line", "amount")


def test_rules_hold_on_records_that_they_were_not_made_from(proposals):
    fields = tuple(records(1)[0])
    contract = Contract(
        task="json", fields=fields, derived={rule.field: rule.rule for rule in proposals.values()}
    )
    others = records(300, seed=1)
    broken = contradictions(contract, enumerate(others))
    assert broken is None or broken.count <= 0.02 * len(others)
    known = [{name: record[name] for name in contract.learned} for record in others]
    done = [Derivation(contract).complete(record).record for record in known]
    assert sum(derived == other for derived, other in zip(done, others, strict=True)) >= 0.98 * len(others)


def test_no_rule_reads_a_field_that_is_derived(proposals):
    assert not {name for rule in proposals.values() for name in rule.inputs} & set(proposals)


def test_a_few_wrong_records_hide_no_rule():
    rows = records()
    for number in range(0, len(rows), 150):
        rows[number]["desk"], rows[number]["code"] = "desk pet", "KS4I"
    rules = {rule.field for rule in propose(rows)}
    assert {"code", "desk", "missing"} <= rules


def test_a_value_of_another_kind_hides_no_rule():
    rows = records(300)
    rows[20]["amount"], rows[30]["line"], rows[40]["papers"], rows[50]["day"] = "many", 7, None, "soon"
    assert {rule.field for rule in propose(rows)} >= {"band", "desk", "queue", "code", "missing", "due"}


def test_given_rules_are_neither_proposed_nor_read():
    rules = propose(records(), given=("line",))
    assert all("line" not in rule.inputs and rule.field != "line" for rule in rules)


def test_too_few_records_show_no_rule():
    assert propose(records(derivation.FEWEST - 1)) == []
    assert propose([]) == []


def test_what_is_always_or_nearly_always_the_same_is_no_rule():
    dice = random.Random(3)
    rows = [
        {"line": dice.choice("abc"), "flag": number % 500 == 3, "one": "x", "amount": dice.randrange(10_000)}
        for number in range(600)
    ]
    assert propose(rows) == []


def test_a_field_that_names_the_row_gives_no_rule():
    rows = [
        {"number": 100_000 + number, "name": f"customer {number}", "team": "old" if number < 300 else "new"}
        for number in range(600)
    ]
    assert propose(rows) == []


def test_one_of_two_fields_that_say_the_same_is_derived():
    rows = [{"id": f"c{number}", "again": f"c{number}"} for number in range(100)]
    (rule,) = propose(rows)
    assert (rule.field, rule.rule) == ("again", "id")


FIELDS = st.fixed_dictionaries(
    {
        "a": st.sampled_from("xyz"),
        "b": st.none() | st.integers(-5, 10_000),
        "c": st.lists(st.sampled_from("pq"), max_size=2),
        "d": st.booleans(),
        "strange name": st.floats(-10, 1e6) | st.text(max_size=3),
    }
)


@settings(max_examples=15, deadline=None)
@given(st.lists(FIELDS, min_size=60, max_size=80), st.randoms(use_true_random=False))
def test_chance_shows_no_rule_and_nothing_breaks(rows, dice):
    """Values of each field dealt anew to the records: whatever rule there was is gone."""
    for name in ("a", "b", "c", "d", "strange name"):
        values = [row[name] for row in rows]
        dice.shuffle(values)
        rows = [row | {name: value} for row, value in zip(rows, values, strict=True)]
    for rule in propose(rows):
        # With a handful of distinct records chance can still look like a rule; then it has to be right.
        assert rule.right >= derivation.RIGHT
        assert len({repr(row) for row in rows}) < 20


def test_rules_are_written_as_a_recipe_reads_them(proposals, tmp_path):
    path = tmp_path / "r.yaml"
    rules = {rule.field: rule.rule for rule in proposals.values()}
    path.write_text("data: d.csv\n" + derivation.as_recipe(rules), encoding="utf-8")
    assert recipe_from(path, {}).derive == rules


def test_the_finding_says_what_to_do(proposals):
    finding = derivation.hidden_rules(list(proposals.values()))
    assert finding is not None
    assert finding.kind == "hidden_rules" and finding.count == 8
    assert "code, tax, sum" in finding.title
    assert "--accept-rules" in finding.remedy
    assert finding.details["derive"]["sum"] == "net + fee"
    assert "code follows from line (100 % right)" in finding.cases[0].text
    assert derivation.hidden_rules([]) is None
