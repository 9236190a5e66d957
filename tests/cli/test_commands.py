"""ask, list, show and bases against stand-ins for the rooms they call."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from azubi.cli import main
from azubi.cli.app import app
from azubi.data import readers
from azubi.data.contract import Contract
from azubi.engine.inference.answering import unanswered
from azubi.errors import UnknownSpecialist
from azubi.events.figures import Score
from azubi.pipeline.ask import AnswersByName, source
from azubi.settings import Recipe


class Answer(BaseModel):
    text: str
    confidence: float
    notes: tuple[str, ...] = ()
    scope: float | None = None
    in_scope: bool | None = None
    review: bool = False
    levels: dict[str, float] = {}
    by: str = "specialist"


class Card(BaseModel):
    name: str = "bank"
    version: int = 2
    folder: Path = Path("/h/specialists/bank/2")
    task: str = "labels"
    base: str = "minilm"
    licence: str = "apache-2.0"
    layers: int = 6
    tail_layers: int = 0
    prompt_layers: int | None = None
    trained: int = 29_645
    parameters: int = 22_742_861
    scores: dict[str, tuple[Score, ...]] = {
        "specialist": (Score(name="accuracy", value=0.931, low=0.92, high=0.94, n=3080),)
    }
    created: datetime = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)
    bytes: int = 118_900
    instruction: str | None = None
    parent: str | None = None
    imported: str = ""
    data_version: str = ""
    contract: Contract = Contract(task="labels")
    recipe: dict[str, object] = {}


def _asked(prompt):
    return prompt if isinstance(prompt, str) else "".join(turn.content for turn in prompt.turns)


@pytest.fixture
def asked(stub, store):
    calls = []

    def answer(home, name, prompts):
        calls.append((home, name, [_asked(prompt) for prompt in prompts]))
        return [
            unanswered(prompt.fault)
            if not isinstance(prompt, str) and prompt.fault
            else Answer(text=f"re: {_asked(prompt)}", confidence=0.9)
            for prompt in prompts
        ]

    def answer_several(home, asked):
        print("library chatter")
        answers = {name: answer(home, name, prompts) for name, prompts in asked.items()}
        return AnswersByName(answers, ("They read twice.",) if len(asked) > 1 else ())

    stub("azubi.pipeline.ask", answer_several=answer_several, source=source)
    return calls


@pytest.fixture
def store(stub):
    class Store:
        cards = [Card()]  # noqa: RUF012

        def __init__(self, home):
            self.home = home

        def list(self):
            return self.cards

        def aliases(self, name):
            return {"production": 1}

        def with_erased_rows(self):
            return set()

        def get(self, name):
            if name != "bank":
                raise UnknownSpecialist(f"There is no specialist {name}.", "See: azubi list")
            return self.cards[0]

    stub("azubi.registry.store", Store=Store)
    return Store


def test_ask_prints_the_answer_alone(asked, capsys, home):
    assert main(["ask", "bank", "Where is my card?"]) == 0
    assert capsys.readouterr().out == "re: Where is my card?\n"
    assert asked == [(home, "bank", ["Where is my card?"])]


def test_ask_as_json(asked, capsys):
    assert main(["--json", "ask", "bank", "x"]) == 0
    answer = {
        "prompt": "x",
        "answer": "re: x",
        "confidence": 0.9,
        "in_scope": None,
        "scope": None,
        "review": False,
        "by": "specialist",
        "notes": [],
    }
    expected = {"specialist": "bank", "answers": [answer]}
    assert json.loads(capsys.readouterr().out) == expected


@pytest.fixture
def three(asked, store, monkeypatch):
    monkeypatch.setattr(store, "get", lambda self, name: Card(name=name))
    return asked


def test_several_specialists_answer_one_prompt(three, capsys):
    assert main(["ask", "bank, claims,bank", "x"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "bank:\nre: x\nclaims:\nre: x\n" and "Note: They read twice." in shown.err
    assert [name for _, name, _ in three] == ["bank", "claims"]
    assert main(["ask", "bank,claims", "x", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["specialists"] == ["bank", "claims"]
    assert [(name, said["prompt"], said["answer"]) for name, said in document["answers"][0].items()] == [
        ("bank", "x", "re: x"),
        ("claims", "x", "re: x"),
    ]


def test_several_specialists_answer_the_rows_of_a_file(three, tmp_path, capsys):
    path = tmp_path / "p.csv"
    path.write_text("prompt,x\na,1\n,2\n")
    assert main(["ask", "bank,claims", "--file", str(path)]) == 3
    shown = capsys.readouterr()
    assert shown.out == "re: a\tre: a\n\t\n"
    assert "Note, claims, row 3: Not asked" in shown.err and "bank, 1 of 2 rows has no answer." in shown.err
    assert main(["ask", "bank,claims", "--file", str(path), "--json"]) == 3
    first, second = json.loads(capsys.readouterr().out)["answers"]
    assert (first["claims"]["row"], first["claims"]["answer"]) == (2, "re: a")
    assert (second["bank"]["row"], second["bank"]["answer"]) == (3, None)
    assert main(["ask", "bank,claims", "--file", str(path), "--out", str(tmp_path / "a.jsonl")]) == 3
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [(row["x"], row["row"], row["bank answer"], row["claims by"]) for row in rows] == [
        ("1", 2, "re: a", "specialist"),
        ("2", 3, None, "nobody"),
    ]
    assert main(["ask", "bank,claims", "--file", "-"]) == 2


@pytest.mark.parametrize(
    ("name", "content", "flags"),
    [
        ("p.csv", '\ufefftext,category\n"a, ""b""\nc",x\nd,y\n', ["--prompt", "text"]),
        ("p.csv", 'x;prompt\n"1,2,3";"a, ""b""\nc"\n2;d\n', []),
        ("p.jsonl", '{"q": "a, \\"b\\"\\nc"}\n\n{"q": "d"}\n', ["--prompt", "q"]),
        (
            "p.jsonl",
            '{"messages": [{"role": "user", "content": "a, \\"b\\"\\nc"}]}\n{"prompt": "d"}\n',
            [],
        ),
    ],
)
def test_ask_a_file(name, content, flags, asked, tmp_path, capsys):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert main(["ask", "bank", "--file", str(path), "--json", *flags]) == 0
    assert asked[0][2] == ['a, "b"\nc', "d"]
    assert len(json.loads(capsys.readouterr().out)["answers"]) == 2


def test_ask_prints_one_line_for_each_row(asked, tmp_path, capsys):
    path = tmp_path / "p.txt"
    path.write_text("one\n\ntwo\u2028lines\n")
    assert main(["ask", "bank", "--file", str(path)]) == 3
    out, err = capsys.readouterr()
    assert out == "re: one\n\nre: two\u2028lines\n"
    assert "Note, row 2: The row is empty." in err and err.endswith("1 of 3 rows has no answer.\n")
    path.write_text('{"prompt": "a\\nb"}\n')
    assert main(["ask", "bank", "--file", str(path)]) == 0
    assert capsys.readouterr().out == "re: a\\nb\n"


def test_ask_names_each_row_in_json(asked, tmp_path, capsys):
    path = tmp_path / "p.csv"
    path.write_text("prompt,x\na,1\n,2\n")
    assert main(["ask", "bank", "--file", str(path), "--json"]) == 3
    first, second = json.loads(capsys.readouterr().out)["answers"]
    assert (first["row"], first["prompt"], first["answer"]) == (2, "a", "re: a")
    assert (second["row"], second["prompt"], second["answer"]) == (3, None, None)
    assert (second["confidence"], second["by"], second["notes"]) == (
        None,
        "nobody",
        ["Not asked: no prompt."],
    )


def test_every_setting_of_reading_is_a_flag_of_ask():
    """What the reader reads of the recipe comes from the specialist, and can be another for what is asked."""
    folder = Path(readers.__file__).parent
    used = {
        name
        for path in folder.glob("*.py")
        for name in re.findall(r"recipe\.([a-z_]+)", path.read_text())
        if name in Recipe.model_fields
    }
    flags = {flag for command in get_command(app).commands["ask"].params for flag in command.opts}
    assert len(used) > 8
    # --file in the place of data; how answers and times are written does not matter here.
    learned = {"answer", "turns", "data", "decimal", "dates", "task"}
    missing = {name for name in used - learned if not any(flag.startswith(f"--{name}") for flag in flags)}
    assert not missing


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.csv", b"text\na\n", "no column “prompt”; it has “text”"),
        ("p.csv", b"", "is empty"),
        ("p.csv", b"prompt\n", "has no rows"),
        ("p.jsonl", b"[1]\n", "not an object"),
        ("p.jsonl", b'{"prompt": null}\n', "row 1: Not asked: no prompt"),
        ("p.txt", b"\n", "is empty"),
        ("p.txt", b"\xff\xfe", "is empty"),
    ],
)
def test_ask_a_bad_file(name, content, words, asked, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    assert main(["ask", "bank", "--file", str(path)]) == 2
    assert words in capsys.readouterr().err
    assert not asked


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["  "],
        ["x", "--file", "f.txt"],
        ["--file", "none.csv"],
        ["--file", "empty"],
        ["x", "--sheet", "A"],
    ],
)
def test_ask_needs_one_source_of_prompts(arguments, asked, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert main(["ask", "bank", *arguments]) == 2
    assert capsys.readouterr().err.strip()
    assert not asked


def test_ask_a_prompt_that_looks_like_a_flag(asked):
    assert main(["ask", "bank", "--", "--json"]) == 0
    assert asked[0][2] == ["--json"]


def test_list(store, capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "bank" in out and "93.1 % (92.0–94.0 %)" in out
    assert max(map(len, out.splitlines())) <= 80 and "In production: bank@1" in out
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["specialists"][0]["version"] == 2


def test_list_of_nothing(store, capsys):
    store.cards = []
    assert main(["list"]) == 0
    assert "azubi tune" in capsys.readouterr().out
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"specialists": []}


def test_show(store, capsys):
    assert main(["show", "bank"]) == 0
    assert "29,645 of 22,742,861 parameters (0.1 %)" in capsys.readouterr().out
    assert main(["show", "bank", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["base"], document["folder"]) == ("minilm", "/h/specialists/bank/2")
    store.cards = [Card(layers=30, tail_layers=8, prompt_layers=2)]
    assert main(["show", "bank"]) == 0
    assert "the last 8 of 30 (2 of them act on the prompt)" in capsys.readouterr().out


def test_show_nobody(store, capsys):
    assert main(["show", "nobody", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "unknown_specialist"


def test_bases(capsys):
    assert main(["bases"]) == 0
    out = capsys.readouterr().out
    assert "smollm2-135m" in out and "apache-2.0" in out and "134,515,008" in out
    assert max(map(len, out.splitlines()[:4])) <= 80
    assert main(["bases", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["bases"][0]
    assert first["layers"] == 30 and isinstance(first["here"], bool)
