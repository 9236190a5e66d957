"""ask, list, show and bases against stand-ins for the rooms they call."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from azubi.cli import main
from azubi.data.contract import Contract
from azubi.errors import UnknownSpecialist
from azubi.evaluate.score import Score


class Answer(BaseModel):
    text: str
    confidence: float
    notes: tuple[str, ...] = ()
    scope: float | None = None
    in_scope: bool | None = None
    by: str = "specialist"


class Card(BaseModel):
    name: str = "bank"
    version: int = 2
    folder: Path = Path("/h/specialists/bank/2")
    task: str = "labels"
    base: str = "minilm"
    licence: str = "apache-2.0"
    trained: int = 29_645
    parameters: int = 22_742_861
    scores: dict[str, tuple[Score, ...]] = {
        "specialist": (Score(name="accuracy", value=0.931, low=0.92, high=0.94, n=3080),)
    }
    created: datetime = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)
    bytes: int = 118_900
    prime: str | None = None
    parent: str | None = None
    data_version: str = ""
    contract: Contract = Contract(task="labels")


@pytest.fixture
def asked(stub):
    calls = []

    def answer(home, name, prompts):
        print("library chatter")
        calls.append((home, name, prompts))
        return [Answer(text=f"re: {prompt}", confidence=0.9) for prompt in prompts]

    stub("azubi.ask", answer=answer)
    return calls


@pytest.fixture
def store(stub):
    class Store:
        cards = [Card()]  # noqa: RUF012

        def __init__(self, home):
            self.home = home

        def list(self):
            return self.cards

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
        "by": "specialist",
        "notes": [],
    }
    expected = {"specialist": "bank", "answers": [answer]}
    assert json.loads(capsys.readouterr().out) == expected


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


def test_ask_a_text_file_line_by_line(asked, tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("one\n\ntwo\n")
    assert main(["ask", "bank", "--file", str(path)]) == 0
    assert asked[0][2] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.csv", b"text\na\n", "no column `prompt`; it has `text`"),
        ("p.csv", b"prompt,x\na,1\n,2\n", "Row 3"),
        ("p.csv", b"", "no column `prompt`; it has none"),
        ("p.csv", b"prompt\n", "holds no prompts"),
        ("p.jsonl", b'{"prompt": "a"}\n{oops\n', "Line 2 of"),
        ("p.jsonl", b"[1]\n", "not an object"),
        ("p.jsonl", b'{"prompt": null}\n', "Row 1"),
        ("p.txt", b"\n", "holds no prompts"),
        ("p.txt", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_ask_a_bad_file(name, content, words, asked, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    assert main(["ask", "bank", "--file", str(path)]) == 2
    assert words in capsys.readouterr().err
    assert not asked


@pytest.mark.parametrize(
    "arguments", [[], ["  "], ["x", "--file", "f.txt"], ["--file", "none.csv"], ["--file", "."]]
)
def test_ask_needs_one_source_of_prompts(arguments, asked, capsys):
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
    assert max(map(len, out.splitlines())) <= 80
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
