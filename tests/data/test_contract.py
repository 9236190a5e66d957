"""How the form of the answers is told, checked and read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azubi.data.contract import Contract, TaskInference, infer, parse_labels, record_fault
from azubi.errors import DataError


def test_few_repeated_short_answers_are_labels():
    assert infer(["b", "a", "a"] * 3) == Contract(task="labels", labels=("a", "b"))
    assert infer([str(n) for n in range(77)] * 3).task == "labels"


@pytest.mark.parametrize(
    "answers",
    [
        ["a", "b"] * 2,
        [str(n) for n in range(501)] * 3,
        ["a" * 81, "b"] * 9,
        ["a\nb", "b"] * 9,
        ["one", "two", "three"],
    ],
)
def test_other_answers_are_text(answers):
    assert infer(answers) == Contract(task="text")


def test_objects_are_json_with_the_union_of_fields_as_first_written():
    answers = ['{"line": 1, "code": 2}', '```json\n{"code": 3, "team": 4}\n```', '{"line": 1, "code": 2}'] * 4
    contract = infer(answers)
    assert (contract.task, contract.fields, contract.labels) == ("json", ("line", "code", "team"), ())
    assert set(contract.json_schema["properties"]) == {"line", "code", "team"}
    assert contract.json_schema["required"] == ["code"]


def test_one_distinct_answer_teaches_nothing():
    for task in (None, "labels", "json", "text"):
        with pytest.raises(DataError, match="All 9 examples have the same answer, “a”"):
            infer(["a"] * 9, task)
    with pytest.raises(DataError, match="no answers"):
        infer([])


def test_a_set_task_is_kept_and_checked():
    assert infer(["a", "b"], "labels").labels == ("a", "b")
    assert infer(["a", "b"] * 9, "text").task == "text"
    assert infer(['{"a": 1}', "broken"], "json").fields == ("a",)


def test_labels_with_few_training_examples_are_rare_unless_they_were_learned_before():
    contract = infer(["a"] * 9 + ["b"] * 5 + ["c"] * 4 + ["d"])
    assert contract.rare == {}
    training = ["a"] * 6 + ["b"] * 5 + ["c"] * 4
    assert contract.with_rare(training).rare == {"c": 4, "d": 0}
    assert contract.with_rare(training, learned={"a", "c"}).rare == {"d": 0}


LISTS = ['["b", "a"]', '["a"]', '["c","b"]'] * 9


def test_lists_of_labels_are_sets_of_labels():
    contract = infer(LISTS)
    assert (contract.task, contract.multi, contract.labels) == ("labels", True, ("a", "b", "c"))
    assert contract.label_set('["b", "a", "b"]') == {"a", "b"} and contract.label_set("a") is None
    assert not contract.may_be_empty and infer([*LISTS, "[]"]).may_be_empty
    assert contract.with_rare(['["a", "b"]'] * 5 + ['["c"]']).rare == {"c": 1}
    assert parse_labels('[" b", "a"]') == ("a", "b") and parse_labels("[1]") is None
    with pytest.raises(DataError, match="no training example has: “d”"):
        contract.check_covers(['["a", "d"]'])


@pytest.mark.parametrize(
    "answers", [["[1]", "[2]"] * 9, ['["a"]', '["b"]'], ['["a"]', "b"] * 9, [f'["{"a" * 81}"]', '["b"]'] * 9]
)
def test_other_lists_are_none(answers):
    assert not infer(answers).multi


def test_lists_of_labels_among_other_labels_are_asked_about():
    inference = inferred([*LISTS, "a", "b"])
    with pytest.raises(
        DataError, match=r"27 of 29 are JSON lists of labels, the others are not \(line 28: “a”"
    ):
        inference.task("labels")
    assert inferred(LISTS).task("labels") == "labels" and inferred(LISTS).multi("labels")
    assert "a set of labels, 3 in all" in inferred(LISTS).notes("labels")[0]


RECORDS = [f'{{"a": {n}}}' for n in range(100)]
FAULTS = ["none", "{'a': 1}", '{"a": NaN}', '{"a":', "[1]"] * 20


def inferred(answers):
    inference = TaskInference()
    for line, answer in enumerate(answers, start=1):
        inference.add(answer, line)
    return inference


@given(st.integers(0, 100), st.randoms())
def test_the_task_follows_from_shares_alone_not_from_the_order(faulty, dice):
    answers = RECORDS[faulty:] + ["a text"] * faulty
    dice.shuffle(answers)
    inference = inferred(answers)
    if faulty <= 10:
        assert inference.task() == "json" and not inference.notes("json")
    elif faulty < 90:
        with pytest.raises(DataError, match=f"two kinds: {100 - faulty} of 100 are JSON records") as caught:
            inference.task()
        assert "--task json" in caught.value.remedy and "--task text" in caught.value.remedy
        assert "“a text”" in caught.value.problem and '“{"a": ' in caught.value.problem
    else:
        assert inference.task() in ("text", "labels")
        assert [
            f"{100 - faulty} of 100 answers are JSON records" in note for note in inference.notes("text")
        ] == [True] * (faulty < 100)
    assert inference.task("text") == "text"


def test_what_is_meant_to_be_a_record_and_is_none_is_a_fault_not_a_text():
    assert inferred(["{'a': 1}"] * 9).task() == inferred(['{"a": NaN}'] * 9).task() == "json"
    assert inferred(FAULTS[1:4] * 9).task() == "json"
    assert (
        inferred(["[1]", "[2]"] * 9).task()
        == inferred(["Dear {name}", "Hello {name}"] * 9).task()
        == "labels"
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("none", "the answer is no JSON record"),
        ("[1]", "the answer is no JSON record"),
        (
            "{'a': None}",
            "the answer is not JSON, but --repair mends it: single quotes, as in a Python dict, None",
        ),
        ("```json\n{'a': 1}\n```", "the answer is not JSON, but --repair mends it: single quotes"),
        ('{"a": 1, "a": 2}', "the answer is not JSON: the key “a” occurs twice"),
        ('{"a": 1', "the answer is not JSON: Expecting ',' delimiter at column 8"),
        ('{"a": 1}', ""),
        ('```json\n{"a": 1}\n```', ""),
    ],
)
def test_why_an_answer_is_no_record_is_said(answer, words):
    assert record_fault(answer).startswith(words) and bool(record_fault(answer)) == bool(words)


@pytest.mark.parametrize("text", ['{"a": 1}', ' \n{"a": 1}\n', '```json\n{"a": 1}\n```', '```\n{"a": 1}```'])
def test_records_are_read(text):
    assert Contract(task="json").parse(text) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        '{"a": NaN}',
        '{"a": 1, "a": 1}',
        '{"a": 1e999}',
        '{"a": 1} so',
        'Here: {"a": 1}',
        '{"a": 1',
        '{"a":' * 100_000,
        "3",
    ],
)
def test_anything_else_is_no_record(text):
    assert Contract(task="json").parse(text) is None


def test_test_answers_must_be_covered():
    labels = Contract(task="labels", labels=("a", "b"))
    labels.check_covers(["a", "b", "a"])
    with pytest.raises(DataError, match=r"“c”, “d”\.") as caught:
        labels.check_covers(["a", "d", "c", "c"])
    assert "“a”" not in caught.value.problem
    Contract(task="text").check_covers(["anything"])
