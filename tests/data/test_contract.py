"""How the form of the answers is told, checked and read back."""

import pytest

from azubi.data.contract import Contract, infer
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
    told = infer(answers)
    assert (told.task, told.fields, told.labels) == ("json", ("line", "code", "team"), ())
    assert set(told.json_schema["properties"]) == {"line", "code", "team"}
    assert told.json_schema["required"] == ["code"]
    assert infer([*answers, "[1]"]).task == "text"


def test_one_distinct_answer_teaches_nothing():
    for task in (None, "labels", "json", "text"):
        with pytest.raises(DataError, match="All 9 examples have the same answer, “a”"):
            infer(["a"] * 9, task)
    with pytest.raises(DataError, match="no answers"):
        infer([])


def test_a_set_task_is_kept_and_checked():
    assert infer(["a", "b"], "labels").labels == ("a", "b")
    assert infer(["a", "b"] * 9, "text").task == "text"
    with pytest.raises(DataError, match=r"answer 2 of 3 is not a JSON object: “broken”") as caught:
        infer(["{}", "broken", "{}"], "json")
    assert "--task text" in caught.value.remedy


@pytest.mark.parametrize("text", ['{"a": 1}', ' \n{"a": 1}\n', '```json\n{"a": 1}\n```', '```\n{"a": 1}```'])
def test_records_are_read(text):
    assert Contract(task="json").parse(text) == {"a": 1}


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"a": 1} so', 'Here: {"a": 1}', '{"a": 1', '{"a":' * 100_000, "3"]
)
def test_anything_else_is_no_record(text):
    assert Contract(task="json").parse(text) is None


def test_test_answers_must_be_covered():
    labels = Contract(task="labels", labels=("a", "b"))
    labels.check_covers(["a", "b", "a"])
    with pytest.raises(DataError, match=r"“c”, “d”\.") as caught:
        labels.check_covers(["a", "d", "c", "c"])
    assert "“a”" not in caught.value.problem
    with pytest.raises(DataError, match="answer 1 of 1"):
        Contract(task="json", fields=("a",)).check_covers(["x"])
    Contract(task="text").check_covers(["anything"])
