"""Two specialists side by side: on what neither has learned, with what got better and what got worse."""

import json
from pathlib import Path

import pytest

from azubi.cli import main
from azubi.data.datasets.erased import TestAccessLog
from azubi.errors import SettingError, UnknownSpecialist
from azubi.evaluation import prediction
from azubi.evaluation.comparison import Versus
from azubi.events import events as ev
from azubi.pipeline import prove
from azubi.pipeline.run import run
from azubi.registry import lineage
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny


@pytest.fixture
def made(bases, home, tmp_path):
    def make(name, rows, task="labels", base="encoder", **more):
        settings = {
            "name": name,
            "data": tiny.write(tmp_path / f"{name}-{len(list(tmp_path.glob('*')))}.jsonl", rows),
            "base": str(base if isinstance(base, Path) else getattr(bases, base)),
            "task": task,
            "tail_layers": 1,
            "epochs": 1,
            "threads": 1,
            "split": {"test": 0.3},
        }
        list(run(Recipe(**settings | more), home))

    return make


def compared(home, a, b):
    *events, last = prove.compare(a, b, home, threads=1)
    assert isinstance(last, ev.ComparisonEnded)
    folder = Path(last.folder)
    reading = Versus.model_validate_json((folder / prove.NUMBERS).read_bytes())
    return [*events, last], folder, reading


def test_what_got_better_and_worse_follows_from_the_saved_answers(made, home):
    rows = tiny.labels(160)
    made("claims", rows, base="decoder", learning_rate=1e-7)
    made("claims", rows, epochs=4)
    events, folder, result = compared(home, "claims@1", "claims@2")
    a, b = (prediction.read(folder / f"predictions-{side}.parquet") for side in "ab")
    assert result.a_scores[0].value == a["right"].mean() and result.b_scores[0].value == b["right"].mean()
    joined = b.join(a, on="id", suffix="_a")
    gained = joined.filter(joined["right"] & ~joined["right_a"])["id"]
    lost = joined.filter(~joined["right"] & joined["right_a"])["id"]
    assert {case.id for case in result.of("gained")} == set(gained)
    assert {case.id for case in result.of("lost")} == set(lost)
    assert (result.paired.won, result.paired.lost) == (len(gained), len(lost)) and len(gained)
    assert "claims@2" in (folder / prove.REPORT).read_text()
    assert [event.who for event in events if isinstance(event, ev.BaselineMeasured)] == [
        "claims@1",
        "claims@2",
    ]
    test = lineage.of(Store(home).get("claims@1"), home).test
    assert any(answer.by.startswith("compare ") for answer in TestAccessLog(home).at(test))


def test_only_what_neither_has_learned_is_asked(made, home):
    rows = tiny.labels(160)
    made("old", rows)
    made("new", rows, seed=5)
    cards = [Store(home).get(name) for name in ("old", "new")]
    asked = {example.prompt for example in prove.unseen(cards, home)}
    both = [{example.prompt for example in prove.lineage.of(card, home).test} for card in cards]
    assert asked == both[0] & both[1] and asked < both[0]


def test_a_question_that_one_base_cannot_read_counts_as_wrong_and_is_said(made, home, tmp_path):
    long = [row | {"prompt": row["prompt"] + " and the roof" * 150} for row in tiny.labels(160)]
    made("short", tiny.labels(160))
    made("long", long, base=tiny.encoder(tmp_path / "long-bert", context=4 * tiny.CONTEXT))
    events, folder, result = compared(home, "short", "long")
    answers = prediction.read(folder / "predictions-a.parquet")
    unread = answers.filter(answers["kind"] == prediction.UNANSWERED)
    assert 0 < unread.height < answers.height == result.paired.difference.n
    assert (result.a_unanswered, result.b_unanswered) == (unread.height, 0) and not unread["right"].any()
    sentence = f"Of the {answers.height} questions, short@1 could not read {unread.height}:"
    assert sentence in events[-1].sentence and "long@1 could not" not in events[-1].sentence
    assert sentence in (folder / prove.REPORT).read_text()


def test_what_cannot_be_compared_is_said(made, home):
    made("old", tiny.labels(80))
    made("records", tiny.records(80), task="json", base="decoder")
    with pytest.raises(SettingError, match="old@1 answers with labels, records@1 with records"):
        list(prove.compare("old", "records", home))
    with pytest.raises(UnknownSpecialist):
        list(prove.compare("old", "nobody", home))


def test_the_command_tells_a_person_and_a_program(made, home, capsys):
    rows = tiny.labels(160)
    made("claims", rows, base="decoder", learning_rate=1e-7)
    made("claims", rows, epochs=4)
    assert main(["compare", "claims@1", "claims@2", "--threads", "1", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "claims@1" in out and "Got better" in out and "report.html" in out
    assert main(["compare", "claims@1", "claims@2", "--threads", "1", "--json", "--lang", "de"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["compared"]["paired"]["won"] > 0
    assert '<html lang="de"' in Path(document["report"]).read_text()
