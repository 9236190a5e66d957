"""Conversations in the forms that others publish."""

import json

import pytest

from azubi.data.example import Turn
from azubi.data.readers.reading import read
from tests.data.readers.writing import chat, lines, pairs, refused

LONG = chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))


def only_example(file, row, **settings):
    (example,) = read(file(lines(row)), **settings).examples
    return example


def test_one_example_stays_one_and_the_last_turn_is_the_answer(file):
    example = only_example(file, LONG)
    assert example.turns == (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
    assert example.answer == "d"


def test_all_turns_of_the_assistant_are_learned_when_asked_for(file):
    last, every = only_example(file, LONG), only_example(file, LONG, turns="all")
    assert [turn.learned for turn in every.turns] == [False, True, False]
    assert last.id == every.id and last.prompt == every.prompt


def test_openai_weight_zero_is_not_learned(file):
    row = {"messages": [dict(turn) for turn in LONG["messages"]]}
    row["messages"][1]["weight"] = 0
    assert [turn.learned for turn in only_example(file, row, turns="all").turns] == [False, False, False]
    row["messages"][3]["weight"] = 0
    assert "the answer has the weight 0" in refused(file(lines(row))).problem


def test_sharegpt(file):
    row = {
        "system": "s",
        "conversations": [
            {"from": "human", "value": "a"},
            {"from": "gpt", "value": "b"},
            {"from": "human", "value": "c"},
            {"from": "gpt", "value": "d"},
        ],
    }
    example = only_example(file, row, turns="all")
    assert [(turn.role, turn.content, turn.learned) for turn in example.turns] == [
        ("system", "s", False),
        ("user", "a", False),
        ("assistant", "b", True),
        ("user", "c", False),
    ]
    assert example.answer == "d"


def test_alpaca(file):
    rows = [
        {"instruction": "i", "input": "x", "output": "o"},
        {"instruction": "i", "input": "", "output": "o", "text": "not used"},
        {"instruction": "i", "output": "o", "system": "s", "history": [["q", "r"]]},
    ]
    first, second, third = read(file(lines(*rows))).examples
    assert first.prompt == "i\n\nx" and second.prompt == "i" and second.answer == "o"
    assert [turn.content for turn in third.turns] == ["s", "q", "r", "i"]


def test_prompt_and_completion(file):
    talk = {
        "prompt": [{"role": "user", "content": "a"}],
        "completion": [{"role": "assistant", "content": "b"}],
    }
    assert pairs(read(file(lines({"prompt": "a", "completion": " b"}, talk)))) == [("a", "b"), ("a", "b")]


def test_columns_that_are_named_win_over_a_conversation(file):
    row = {**LONG, "text": "t", "label": "l"}
    assert only_example(file, row).answer == "d"
    assert only_example(file, row, prompt="text", answer="label").prompt == "t"


def test_a_conversation_in_a_cell_of_a_table(file):
    cell = json.dumps(LONG["messages"]).replace('"', '""')
    (example,) = read(file(f'id,messages\n7,"{cell}"\n', "a.csv"), id="id").examples
    assert (example.answer, example.key) == ("d", "7")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"conversations": [{"from": "human", "value": "a"}]}, "ends with a message of the user"),
        ({"conversations": [{"from": "tool", "value": "a"}]}, 'role "tool"'),
        ({"messages": [{"role": "assistant", "tool_calls": [1]}]}, "message 1 calls a tool"),
        ({"messages": "not json"}, "“messages” is not JSON"),
        ({"instruction": "a", "output": "b", "history": "x"}, "“history” is not a list of pairs"),
    ],
)
def test_what_cannot_be_learned(file, row, said):
    assert said in refused(file(lines(row))).problem
