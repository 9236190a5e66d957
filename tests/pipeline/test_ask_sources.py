"""What is asked is read as the specialist's examples were: conversations, templates, encodings."""

import json

from azubi.cli import main
from azubi.data.example import Example
from azubi.data.readers.reading import read_asked
from azubi.pipeline import ask
from azubi.registry.store import Store
from tests import tiny
from tests.pipeline.runs import make


def test_a_conversation_is_asked_with_its_history_and_without_what_all_began_with(bases, tmp_path):
    """The note stands in the first message, and the same system message before all, as in training."""
    rows = [
        {
            "messages": [
                {"role": "system", "content": "Which line?"},
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": "Hail?"},
                {"role": "user", "content": "Yes."},
                {"role": "assistant", "content": row["answer"]},
            ]
        }
        for row in tiny.labels()
    ]
    made = make(tmp_path, bases.encoder, rows, epochs=40)
    card = Store(made.home).get("tiny")
    assert card.system == "Which line?" and len(set(made.answers)) > 1
    measured = dict(zip(made.prompts, made.answers, strict=True))
    for cut in (None, -1):
        asked = tiny.write(tmp_path / "new.jsonl", [{"messages": row["messages"][:cut]} for row in rows])
        questions = read_asked(ask.source(card, asked))
        answers = ask.answer(made.home, "tiny", questions)
        by_prompt = {
            Example(row.turns[1:], "").prompt: two.text for row, two in zip(questions, answers, strict=True)
        }
        assert {prompt: by_prompt[prompt] for prompt in measured} == measured
        assert not any(ask.OTHER_SYSTEM in answer.notes for answer in answers)
    rows[0]["messages"][0]["content"] = "Which team?"
    asked = tiny.write(tmp_path / "new.jsonl", rows[:1])
    (other,) = ask.answer(made.home, "tiny", read_asked(ask.source(card, asked)))
    assert ask.OTHER_SYSTEM in other.notes


def test_a_file_is_asked_as_the_specialist_was_taught_to_read(bases, tmp_path, capfd):
    """Its template, its columns; and encoding and delimiter only where the new file does not tell."""
    parted = [(*row["prompt"].split(", "), row["answer"]) for row in tiny.labels()]
    rows = [(amount, f"{note} ä", line) for note, amount, line in parted]
    taught = "".join("|".join(row) + "\n" for row in [("sum", "text", "line"), *rows])
    (tmp_path / "taught.csv").write_bytes(taught.encode("cp1252"))
    settings = {"prompt": "{text}, {sum}", "answer": "line", "encoding": "cp1252", "delimiter": "|"}
    made = make(tmp_path, bases.encoder, [], **settings | {"data": tmp_path / "taught.csv"})
    measured = dict(zip(made.prompts, made.answers, strict=True))
    new = "".join(";".join(row[:2][::-1]) + "\n" for row in [("sum", "text"), *rows])
    (tmp_path / "new.csv").write_text(new)
    for name in ("taught.csv", "new.csv"):
        assert main(["ask", "tiny", "--file", str(tmp_path / name), "--json", "--home", str(made.home)]) == 0
        answers = json.loads(capfd.readouterr().out)["answers"]
        assert {
            answer["prompt"]: answer["answer"] for answer in answers if answer["prompt"] in measured
        } == measured
    flags = ["--prompt", "{text}, {amount}", "--json", "--home", str(made.home)]
    (tmp_path / "new.csv").write_text(new.replace("sum", "amount"))
    assert main(["ask", "tiny", "--file", str(tmp_path / "new.csv"), "--home", str(made.home)]) == 2
    assert "no column “sum”" in capfd.readouterr().err
    assert main(["ask", "tiny", "--file", str(tmp_path / "new.csv"), *flags]) == 0
