"""Checks a data set: every check in turn, and what they found together.

The checks are a tuple of functions; whoever adds one adds it there. Knows nothing of files but what is
written at the end, nothing of models, and not how a result is shown.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from functools import cache, reduce
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from azubi.data.checks.check_input import (
    CheckedSource,
    CheckInput,
    Features,
    Splitter,
    Tokens,
    read_input,
    rejected_rows,
    write_rejected,
)
from azubi.data.checks.duplicates import (
    contradictions,
    near_contradictions,
    near_duplicates,
    repeated_examples,
)
from azubi.data.checks.label_errors import likely_wrong_answers, spelling_features
from azubi.data.checks.labels import (
    label_counts,
    label_imbalance,
    label_levels,
    label_order,
    label_variants,
    rare_labels,
    several_labels,
)
from azubi.data.checks.split import (
    answers_in_prompt,
    backward_time,
    codes_in_prompt,
    leaked_groups,
    leaked_prompts,
    small_splits,
)
from azubi.data.checks.texts import languages, lengths, mojibake, schema_and_rules
from azubi.data.contract import Task
from azubi.data.example import SPLITS, Example
from azubi.data.finding import Finding, Level, some, where
from azubi.data.pii import policy
from azubi.data.readers.reading import source_from_settings
from azubi.data.readers.row import Rejected
from azubi.data.readers.source import Source
from azubi.errors import UsageError
from azubi.locale.current import current, translated
from azubi.settings import Recipe
from azubi.storage import files
from azubi.storage.libraries import page_templates

if TYPE_CHECKING:
    from jinja2 import Template


CheckFunction = Callable[[CheckInput], Iterator[Finding]]


def personal_data(check_input: CheckInput) -> Iterator[Finding]:
    """What identifies people."""
    recipe = check_input.recipe
    yield from policy.findings(check_input.data, recipe.patterns, recipe.names)


CHECKS: tuple[CheckFunction, ...] = (
    rejected_rows,
    small_splits,
    contradictions,
    near_contradictions,
    leaked_prompts,
    leaked_groups,
    backward_time,
    answers_in_prompt,
    codes_in_prompt,
    label_variants,
    several_labels,
    label_levels,
    label_order,
    rare_labels,
    schema_and_rules,
    mojibake,
    likely_wrong_answers,
    personal_data,
    label_imbalance,
    repeated_examples,
    near_duplicates,
    lengths,
    languages,
    label_counts,
)
"""In the order in which findings of one level are shown."""

LEVELS: tuple[Level, ...] = ("error", "warning", "note")
PAGE = "check.html"


class Check(BaseModel):
    """What the checks of a data set found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """The data, as it was named."""
    test_source: str | None = None
    """The test beside it, if one was named."""
    task: Task
    """What the answers are."""
    multi: bool = False
    """Whether each answer is a set of labels."""
    base: str | None = None
    """The base in whose tokens lengths were counted."""
    counts: dict[str, int]
    """rows, examples, rejected; test_rows, test_examples and test_rejected if there is a test."""
    split: dict[str, int] = {}
    """Examples that a run would learn from (train), choose with (validation) and measure with (test); none if
    they cannot be split."""
    findings: tuple[Finding, ...]
    """Errors first, then warnings, then notes."""
    rejected_file: str | None = None
    """Where the rows that cannot be used were written, if there are any and a folder was given."""
    page: str | None = None
    """Where the page for people was written, if a folder was given."""
    seconds: dict[str, float] = {}
    """How long reading took, and each check."""

    @property
    def level(self) -> Level | None:
        """The worst level of all findings; None if there are none."""
        return next((level for level in LEVELS if self.of_level(level)), None)

    def of_level(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level."""
        return tuple(finding for finding in self.findings if finding.level == level)


def check(
    source: Path | str | Iterable[Example],
    prompt: str = "prompt",
    answer: Any = "answer",
    *,
    test_data: Path | str | None = None,
    folder: Path | str | None = None,
    tokens: Tokens | None = None,
    **settings: Any,
) -> Check:
    """Look through worked examples and say what is wrong with them.

    `source` is whatever `read` reads, or examples; `test_data` a test that is kept apart. With a `folder`,
    the page check.html and (if there are any) rejected.jsonl are written there. `tokens` counts lengths in a
    base's tokens. `settings` are those of the recipe: `group`, `time`, `task`, `sheet`, `limits` and so on.

    Raises:
        DataError: the source as a whole cannot be read.
        SettingError: a setting does not fit.
    """
    path = Path(folder) if folder is not None else None
    named = source if isinstance(source, Path | str) else "-"
    recipe = source_from_settings(named, prompt, answer, test_data=test_data, **settings).recipe
    if isinstance(source, Path | str):
        return check_recipe(recipe, folder=path, tokens_for=lambda *_: tokens)
    given = CheckedSource("the examples", source)
    return examine(given, recipe=recipe, folder=path, tokens_for=lambda *_: tokens)


def check_recipe(recipe: Recipe, **how: Any) -> Check:
    """Look through the data that a recipe names, as the recipe reads and splits them.

    `how` are the arguments of `examine`.
    """
    data = Source.of(recipe)
    test = Source(recipe, recipe.test_data) if recipe.test_data is not None else None
    return examine(_checked(data, data), _checked(test, data) if test else None, recipe=recipe, **how)


def _checked(source: Source, data: Source) -> CheckedSource:
    """A source as it is checked; a test is read as the `data`, which were read before it, have shown."""
    checked = CheckedSource(source.name, (), source.notes, unread=source.unread)

    def rows() -> Iterator[Example | Rejected]:
        source.recipe = data.recipe
        yield from source.stream(checked.undecided)

    checked.rows = rows()
    return checked


def examine(
    data: CheckedSource,
    test: CheckedSource | None = None,
    *,
    recipe: Recipe | None = None,
    folder: Path | None = None,
    tokens_for: Callable[[Task, Sequence[Example]], Tokens | None] = lambda *_: None,
    features: Features = spelling_features,
    checks: Sequence[CheckFunction] = CHECKS,
    split: Splitter | None = None,
    handle: Callable[[str], None] = lambda _: None,
) -> Check:
    """Read the data (and the test) once, look through it, and write page and rejected rows into `folder`.

    `split` parts examples as a run would; without it, they are parted as by a home that has met none of them.
    `handle` takes what is being done, in words. A source without rows or that cannot be read is a DataError.
    """
    start, recipe = time.monotonic(), recipe or Recipe.model_validate({})
    check_input, findings = read_input(data, test, recipe, handle)
    check_input.tokens_for, check_input.features, check_input.splitter = tokens_for, features, split
    rejected_file = write_rejected(folder, [data, test]) if folder else None
    seconds = {"reading": time.monotonic() - start}
    findings += _run_checks(check_input, checks, seconds, handle)
    if recipe.personal_data in ("mask", "pseudonym"):
        findings = list(_masked(findings, recipe))
    check = Check(
        source=data.name,
        test_source=test.name if test else None,
        task=check_input.task,
        multi=check_input.multi,
        base=check_input.tokens.base if check_input.tokens else None,
        counts=_counts(check_input),
        split=_sizes(check_input),
        findings=tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level))),
        rejected_file=str(rejected_file) if rejected_file else None,
        page=str(folder / PAGE) if folder else None,
        seconds=seconds,
    )
    if folder:
        files.write_text(folder / PAGE, render(check))
    return check


def _run_checks(
    check_input: CheckInput,
    checks: Sequence[CheckFunction],
    seconds: dict[str, float],
    handle: Callable[[str], None],
) -> Iterator[Finding]:
    if not check_input.data:
        yield from rejected_rows(check_input)
        return
    start = time.monotonic()
    handle("Comparing prompts")
    _ = check_input.pairs
    seconds["comparing"] = time.monotonic() - start
    for run_check in checks:
        start, name = time.monotonic(), run_check.__name__.replace("_", " ")
        handle(f"Looking for: {name}")
        yield from run_check(check_input)
        seconds[name] = time.monotonic() - start


def _masked(findings: Sequence[Finding], recipe: Recipe) -> Iterator[Finding]:
    """The findings, quoting what the recipe hides as [IBAN] and the like: they are shown and passed on."""
    quoted = [
        text
        for finding in findings
        for text in (finding.title, finding.remedy, *(case.text for case in finding.cases))
    ]
    masked = iter(policy.mask_all(quoted, recipe.patterns, recipe.names))
    for finding in findings:
        title, remedy = next(masked), next(masked)
        cases = tuple(case.model_copy(update={"text": next(masked)}) for case in finding.cases)
        yield finding.model_copy(update={"title": title, "remedy": remedy, "cases": cases})


def _sizes(check_input: CheckInput) -> dict[str, int]:
    try:
        return {name: len(getattr(check_input.split, name)) for name in SPLITS}
    except UsageError:
        return {}


def _counts(check_input: CheckInput) -> dict[str, int]:
    counts: dict[str, int] = {}
    for prefix, examples, rejected in check_input.parts:
        name = prefix.replace(" ", "_")
        counts |= {
            f"{name}rows": len(examples) + len(rejected),
            f"{name}examples": len(examples),
            f"{name}rejected": len(rejected),
        }
    return counts


_BARS = 40
"""Labels that are drawn; the others are in a table below."""
_WIDTH, _HEIGHT = 720, 120
"""Of the drawing of lengths, in units of its own."""


def render(check: Check) -> str:
    """Write the check as one HTML file, in the language that holds."""
    shortened = {path: short(path) for path in (check.source, check.test_source) if path}

    def title(finding: Finding) -> str:
        """Without the folders, which stand on top of the page."""
        return translated(
            reduce(lambda text, path: text.replace(path, shortened[path]), shortened, finding.title)
        )

    return _template().render(
        check=check,
        title=title,
        today=current().date(date.today().isoformat()),
        lang=current().lang,
        verdict=translated(verdict(check)),
        amounts=translated(amounts(check)),
        answers=translated(answers(check)),
        findings=[finding for finding in check.findings if not finding.routine],
        facts=[finding for finding in check.findings if finding.routine],
        marks=MARKS,
    )


def bars(finding: Finding) -> list[dict[str, Any]]:
    """The labels, their counts and the width of their bars in percent of the longest."""
    labels = finding.details["labels"][:_BARS]
    most = max(count for _, count in labels)
    total = finding.details["examples"]
    return [
        {
            "label": name,
            "count": count,
            "width": round(100 * count / most, 2),
            "share": current().percent(count / total),
        }
        for name, count in labels
    ]


def columns(finding: Finding) -> list[dict[str, Any]]:
    """The columns of the histogram of lengths, each as wide, as rectangles, each with what it says."""
    drawn = finding.details["histogram"]
    most, step = max(count for *_, count in drawn), _WIDTH / len(drawn)
    unit = finding.details["unit"]
    return [
        {
            "x": round(step * place, 1),
            "width": round(step - 2, 1),
            # What is there is seen, however little it is.
            "height": round(max(1.5, _HEIGHT * count / most), 1) if count else 0,
            "label": translated(f"{begin:,} to {until - 1:,} {unit}: {some(count, 'example')}"),
        }
        for place, (begin, until, count) in enumerate(drawn)
    ]


@cache
def _template() -> "Template":
    environment = page_templates(Path(__file__).parent)
    environment.globals.update(
        anchor=anchor,
        bars=bars,
        columns=columns,
        grouped=grouped,
        number=lambda value: current().count(value),
        short=short,
        some=some,
        t=translated,
        where=where,
        width=_WIDTH,
        height=_HEIGHT,
    )
    return environment.get_template("check.html.jinja")


MARKS: dict[Level, str] = {"error": "✗ error", "warning": "! warning", "note": "· note"}
"""How a level is marked; never by colour alone."""


def verdict(check: Check) -> str:
    """Whether azubi can learn from the data, and how much there is to look at."""
    errors, warnings = len(check.of_level("error")), len(check.of_level("warning"))
    if errors:
        rest = f" {some(warnings, 'more thing needs', 'more things need')} a look." if warnings else ""
        return f"{some(errors, 'fault keeps', 'faults keep')} azubi from learning from these data.{rest}"
    if warnings:
        return (
            f"azubi can learn from these data; {some(warnings, 'thing needs', 'things need')} a look first."
        )
    return "azubi can learn from these data; nothing stands out."


def amounts(check: Check) -> str:
    """How much was read, and what the answers are."""
    counts = check.counts
    text = some(counts["examples"], "example")
    if counts["rejected"]:
        text += f" in {counts['rows']:,} rows"
    if "test_examples" in counts:
        text += f", {some(counts['test_examples'], 'test example')}"
    text += f"; the answers are {answers(check)}."
    if sizes := check.split:
        text += (
            f" A run learns from {sizes['train']:,}, chooses the best epoch with {sizes['validation']:,} and "
            f"measures with {sizes['test']:,}."
        )
    return text


def answers(check: Check) -> str:
    """What the answers are: 12 labels, JSON records, free text."""
    if check.task == "labels":
        counted = next((finding for finding in check.findings if finding.kind == "label_counts"), None)
        labels = some(counted.count, "label") if counted else "labels"
        return f"sets of {labels}" if check.multi else labels
    return {"json": "JSON records", "text": "free text"}[check.task]


def grouped(findings: Sequence[Finding]) -> list[tuple[Finding, ...]]:
    """The findings; those in a row that share reason and remedy together, so that these are said once."""
    same = groupby(findings, key=lambda finding: (finding.level, finding.why, finding.remedy))
    return [tuple(group) for _, group in same]


def short(source: str) -> str:
    """The name of a source's file, without its folders; the address of a database stays as it is."""
    return source if "://" in source else Path(source).name or source


def anchor(finding: Finding) -> str:
    """The finding's name as a part of an address."""
    return "".join(letter if letter.isalnum() else "-" for letter in finding.kind)
