"""Where the instruction that all examples share comes from."""

import pytest

from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.data.instruction import (
    common_beginning,
    from_contract,
    from_setting,
    shared_system,
    strip_system,
    to_setting,
    with_system,
    without_system,
)
from azubi.errors import DataError


def example(*turns: tuple[str, str]) -> Example:
    return Example(tuple(Turn(role, content) for role, content in turns), "x", 1)


def test_a_system_message_that_all_share():
    first, two = example(("system", "S "), ("user", "a")), example(("system", "S "), ("user", "b"))
    assert shared_system([first, two]) == "S"
    assert shared_system([first, example(("system", "T"), ("user", "b"))]) is None
    assert shared_system([first, example(("user", "b"))]) is None
    assert shared_system([example(("user", "b"))]) is None
    assert shared_system([example(("system", " "), ("user", "b"))]) is None
    assert shared_system([]) is None


def test_stripping_takes_the_system_message_alone():
    first, two = example(("system", "S"), ("user", "a")), example(("user", "b"))
    assert strip_system([first, two]) == (example(("user", "a")), two)


def test_instructions_name_labels_and_fields():
    assert from_contract(Contract(task="labels", labels=("home", "motor"))).endswith("home, motor.")
    assert "line, claim_code" in from_contract(Contract(task="json", fields=("line", "claim_code")))
    assert from_contract(Contract(task="text"))


def test_given_text_and_file(tmp_path):
    path = tmp_path / "prime.txt"
    path.write_text("\ufeffSort the clàim.\n", encoding="utf-8")
    assert from_setting(f"@{path}") == "Sort the clàim."
    assert from_setting(" Sort it. ") == "Sort it."
    assert from_setting("") == ""


def test_files_that_give_no_instruction(tmp_path):
    empty, odd = tmp_path / "empty.txt", tmp_path / "odd.txt"
    empty.write_text(" \n")
    odd.write_bytes(b"\xff\xfe")
    for path, said in (
        (empty, "is empty"),
        (odd, "UTF-8"),
        (tmp_path / "none", "No such file"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(DataError, match="instruction file") as caught:
            from_setting(f"@{path}")
        assert str(path) in caught.value.problem
        assert said in str(caught.value)


@pytest.mark.parametrize("text", ["Sort it.", "@ is a sign like any other.", "@@ twice", ""])
def test_any_instruction_can_be_put_down_so_that_it_is_read_again_as_it_was(text):
    assert from_setting(to_setting(text)) == text


RULE = "Sort each claim into one line and write nothing else. Claim:\n"


def claims(count, begin=RULE):
    return [
        example(("user", f"{begin}The {'roof' if n % 2 else 'car'} of claim {n} is broken."))
        for n in range(count)
    ]


def test_an_instruction_with_which_all_prompts_begin():
    rows = claims(40)
    assert common_beginning(rows) == (RULE, 40)
    taken = with_system(rows, RULE)
    assert shared_system(taken) == RULE.strip()
    assert [row.prompt for row in strip_system(taken)] == [row.prompt.removeprefix(RULE) for row in rows]
    assert without_system(rows[0].turns, RULE.strip()) == taken[0].turns[1:]
    assert without_system(taken[0].turns, RULE.strip()) == taken[0].turns[1:]


def test_an_instruction_that_some_prompts_lack_is_one_of_nearly_all():
    rows = [*claims(40), *claims(2, "")]
    assert common_beginning(rows) == (RULE, 40)
    assert common_beginning([*claims(40), *claims(9, "")]) == ("", 0)


@pytest.mark.parametrize("begin", ["", "Dear all, ", "Sort it. ", "The claim that I had to report to you "])
def test_a_salutation_or_half_a_sentence_is_no_instruction(begin):
    assert common_beginning(claims(40, begin)) == ("", 0)
    assert common_beginning(claims(9)) == ("", 0)
    assert common_beginning([example(("user", RULE))] * 40) == ("", 0)
