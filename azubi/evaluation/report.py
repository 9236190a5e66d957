"""The report on one specialist: a single HTML file for the people who decide about it.

`Report` holds the contents, `render` writes them with `report.html.jinja`. The file needs no network:
style and charts stand in it. It is read in three minutes by a department head, and prints.

Knows nothing of models, folders or runs; whoever fills the `Report` answers for its figures.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from azubi.data.contract import Contract
from azubi.evaluation import charts, formatting
from azubi.evaluation.comparison import Comparison, compare_pick, field_rows
from azubi.evaluation.locale import Locale, metric_name
from azubi.evaluation.metrics import Difference
from azubi.evaluation.slices import Confusion
from azubi.events import page
from azubi.events.epoch import Epoch
from azubi.events.score import Score
from azubi.events.trial import Choice, Trial, begun

if TYPE_CHECKING:
    from jinja2 import Environment, Template

MOST_MISTAKES = 200
"""So many mistakes are listed at most."""
LONGEST_TEXT = 1_200
"""Characters; longer prompts and answers are cut, and the cut is shown."""
SMALL_TEST = 100
"""With fewer test examples, the report says that the test is small."""


class Report(BaseModel):
    """The contents of the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """What the specialist is called."""
    version: int
    date: str
    """The day of the run, as people read it or as 2026-11-22."""
    contract: Contract
    """The form of the answers."""

    base: str
    """The open model that it was made from."""
    base_licence: str
    base_parameters: int
    base_layers: int
    trained_parameters: int
    tail_layers: int | Literal["all"]
    rank: int

    train: int
    """Examples learned from."""
    validation: int
    """Examples that chose the best epoch."""
    test: int
    """Examples that the scores come from."""
    test_given: bool = False
    """Whether the test examples were brought apart, as opposed to split off."""
    split_by: Literal["prompt", "group", "time"] = "prompt"
    """What parted them, if they were split off."""
    instruction: str
    """The instruction that all examples share."""

    specialist_scores: tuple[Score, ...] = Field(min_length=1)
    """As `measure` gives them; the main metric first."""
    base_scores: tuple[Score, ...] = ()
    """Of the untouched base; empty if it cannot answer (an encoder without a head, for instance)."""
    difference: Difference | None = None
    comparisons: tuple[Comparison, ...] = ()
    """Every test example, in the order of the test; three are shown, and the mistakes are listed."""
    confusions: tuple[Confusion, ...] = ()
    """For labels: the specialist's most frequent mistakes."""
    epochs: tuple[Epoch, ...] = ()

    trials: tuple[Trial, ...] = ()
    """What a search over settings tried; empty if there was none."""
    choice: Choice | None = None

    seconds: dict[str, float] = {}
    """How long each stage took, in the order of the run."""
    cpu: str = ""
    """The processor's name."""
    threads: int = 1
    dtype: str = ""
    versions: dict[str, str] = {}
    """Of python, torch, transformers and azubi."""
    settings: dict[str, object] = {}
    """The recipe."""
    hashes: dict[str, str] = {}
    """SHA-256 of the data and of the base's files, by what was hashed."""
    reproduce: str = "azubi tune recipe.yaml"
    """The command that makes the specialist again."""

    @property
    def mistakes(self) -> tuple[Comparison, ...]:
        """What the specialist got wrong."""
        return tuple(c for c in self.comparisons if not c.specialist_right)


def render(report: Report) -> str:
    """Write the report as one HTML file."""
    from markupsafe import Markup

    return template("report.html.jinja").render(
        report=report,
        base_known=bool(report.base_scores),
        headline=formatting.headline(report.name, report.specialist_scores, report.base_scores),
        score_rows=_score_rows(report),
        meanings=_meanings(report.specialist_scores),
        scores_chart=Markup(charts.scores_chart(report.specialist_scores, report.base_scores)),
        training_chart=Markup(charts.training_chart(report.epochs)) if report.epochs else "",
        training_words=charts.training_words(report.epochs) if report.epochs else "",
        trials_chart=Markup(charts.trials_chart(report.trials, report.choice)) if report.choice else "",
        trials_begun=begun(report.trials),
        trials_words=charts.trials_words(report.trials, report.choice) if report.choice else "",
        examples=compare_pick(report.comparisons),
        mistakes=report.mistakes,
        listed=report.mistakes[:MOST_MISTAKES],
        trained=trained_words(report.tail_layers, report.base_layers, report.rank),
        small_test=report.test < SMALL_TEST,
    )


def trained_words(tail_layers: int | Literal["all"], layers: int, rank: int) -> str:
    """Say in words which weights were trained."""
    if tail_layers == 0:
        return "a label head alone; no layer of the base"
    if tail_layers == "all" or tail_layers >= layers:
        where = f"all {layers} layers"
    else:
        where = (
            f"the last of {layers} layers"
            if tail_layers == 1
            else f"the last {tail_layers} of {layers} layers"
        )
    return f"LoRA factors of rank {rank} in {where}" if rank else f"all weights of {where}"


def _score_rows(report: Report) -> Sequence[tuple[Score, Score | None]]:
    base = {score.name: score for score in report.base_scores}
    return [(score, base.get(score.name)) for score in report.specialist_scores]


def _meanings(scores: Sequence[Score]) -> dict[str, list[str]]:
    """What each metric measures, with the names of those that it holds for."""
    meanings: dict[str, list[str]] = {}
    for score in scores:
        if meaning := Locale("en").meaning(score.name):
            meanings.setdefault(meaning, []).append(metric_name(score.name))
    return meanings


def _cut(text: str) -> str:
    """Shorten a long text, and say so."""
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT].rstrip()} \u2026 [{len(text) - LONGEST_TEXT:,} more characters]"


def _unbroken(text: str) -> str:
    """Keep ranges such as 80 to 93 % on one line."""
    return text.replace("\u2013", "\u2060\u2013\u2060")


def _plain(value: object) -> str:
    return "not set" if value is None else str(value)


def template(name: str) -> "Template":
    """A page's template; all pages share one environment, its filters and its colours."""
    return _environment().get_template(name)


@cache
def _environment() -> "Environment":
    environment = page.environment(Path(__file__).parent)
    environment.filters.update(
        amount=formatting.amount,
        cut=_cut,
        difference_text=formatting.difference_text,
        duration=formatting.duration,
        metric_name=metric_name,
        percent=formatting.percent,
        plain=_plain,
        setting=formatting.setting,
        spread=formatting.spread,
        unbroken=_unbroken,
    )
    environment.globals["field_rows"] = field_rows
    environment.globals["colours"] = charts.COLOURS
    return environment
