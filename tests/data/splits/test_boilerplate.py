"""Text that many prompts share is left aside, wherever it stands, and nothing else."""

import random

import pytest

from azubi.data.splits.near_duplicates import SharedText, normalised

WORDS = ["dach", "hagel", "wagen", "fuchs", "scheibe", "keller", "wasser", "rohr", "hund", "zaun", "brief"]


def notes(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(4, 9))) + "." for _ in range(count)]


def instruction(words: int) -> str:
    return " ".join(f"Regel{n}" for n in range(words)) + ". Meldung:"


FOOTER = "\n\n-- \nMit freundlichen Grüßen\nAnna Blum, Schaden GmbH, Kassel\nDiese Nachricht ist vertraulich."
WRAPPED = {
    "in front": lambda note, n: f"{instruction(110)} {note}",
    "behind": lambda note, n: note + FOOTER,
    "on both sides": lambda note, n: f"{instruction(5)}\n{note}{FOOTER}",
    "in between": lambda note, n: f"{note.split()[0]} {instruction(20)} {' '.join(note.split()[1:])}",
    "in two forms": lambda note, n: f"{instruction(30)} {note}" if n % 2 else note + FOOTER,
    "in nearly all": lambda note, n: note if n % 10 == 0 else f"{instruction(30)} {note}",
    "in other letters": lambda note, n: f"{instruction(30).upper() if n % 2 else instruction(30)}  {note}",
}


@pytest.mark.parametrize("way", WRAPPED)
def test_what_many_share_is_left_aside(way):
    plain = notes(200)
    prompts = [WRAPPED[way](note, n) for n, note in enumerate(plain)]
    shared = SharedText.of(prompts)
    assert [shared.without(prompt) for prompt in prompts] == plain


def test_what_happens_to_follow_an_instruction_often_is_no_part_of_it():
    prompts = [
        f"{instruction(20)} {'Ich habe' if n % 2 else 'Wir'} {note}" for n, note in enumerate(notes(200))
    ]
    shared = SharedText.of(prompts)
    assert shared.without(prompts[1]).startswith("ich habe ")


def test_where_nothing_is_shared_nothing_is_left_aside():
    prompts = notes(300)
    shared = SharedText.of(prompts)
    assert not shared
    assert shared.without("  HAGEL,\nDach ") == normalised("hagel, dach")


def test_a_prompt_that_is_shared_text_alone_stays_whole():
    shared = SharedText.of([f"{instruction(20)} {note}" for note in notes(50)])
    assert shared.without(instruction(20)) == normalised(instruction(20))
    assert shared.without(instruction(20) + " ?!") == normalised(instruction(20)) + " ?!"
    assert shared.without("") == ""


def test_a_few_prompts_share_nothing():
    assert not SharedText.of([f"{instruction(20)} {note}" for note in notes(9)])
    assert not SharedText.of([])


def test_writing_without_spaces():
    prompts = [f"请将以下投诉归类到一个部门 {chr(0x5000 + n)}{chr(0x6000 + 7 * n)}坏了" for n in range(40)]
    rest = SharedText.of(prompts).without(prompts[3])
    assert rest == f"{chr(0x5003)}{chr(0x6015)}坏了"
