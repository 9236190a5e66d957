"""Checks a data set: every check in turn, and what they found together.

The checks are a tuple of functions; whoever adds one adds it there. Knows nothing of files but what is
written at the end, nothing of models, and not how a result is shown.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from azubi.data import schema as schemas
from azubi.data.checks.check_input import CheckInput, Tokens
from azubi.data.checks.duplicates import (
    contradictions,
    near_contradictions,
    near_duplicates,
    repeated_examples,
)
from azubi.data.checks.ingest import Ingest, Refusals, TempDataset
from azubi.data.checks.label_errors import Features, label_error_findings, spelling_features
from azubi.data.checks.labels import (
    label_counts,
    label_imbalance,
    label_variants,
    rare_labels,
    several_labels,
)
from azubi.data.checks.reading import rejected_rows
from azubi.data.checks.records import schema_and_rules
from azubi.data.checks.split import (
    answers_in_prompt,
    backward_time,
    codes_in_prompt,
    leaked_groups,
    leaked_prompts,
    small_splits,
)
from azubi.data.checks.texts import languages, lengths, mojibake
from azubi.data.contract import Task, TaskInference
from azubi.data.example import SPLITS, Example, Part
from azubi.data.finding import SHOWN, Case, Finding, Level
from azubi.data.pii import policy
from azubi.data.readers.documents import unread_parts
from azubi.data.readers.reading import read_source, reject_faulty, reject_non_record
from azubi.data.readers.reading import source_from_settings as source_of
from azubi.data.readers.row import Rejected
from azubi.data.readers.source import Source
from azubi.data.readers.styles import Undecided
from azubi.data.splits.splitting import Split, split_by_recipe
from azubi.errors import DataError, UsageError
from azubi.settings import Recipe
from azubi.storage import files

CheckFunction = Callable[[CheckInput], Iterator[Finding]]
Splitter = Callable[[Mapping[Part, Sequence[Example]], Task], Split]


def likely_wrong_answers(check_input: CheckInput) -> Iterator[Finding]:
    """Labels, and fields of records, that a simple classifier is sure are others."""
    if check_input.kind != "text":
        yield from label_error_findings(check_input.data, check_input.features)


def personal_data(check_input: CheckInput) -> Iterator[Finding]:
    """What identifies people."""
    # Its libraries take long to import.
    from azubi.data.pii.policy import findings

    yield from findings(check_input.data, check_input.patterns, check_input.names)


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
        return next(
            (level for level in LEVELS if any(finding.level == level for finding in self.findings)), None
        )

    def of_level(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level."""
        return tuple(finding for finding in self.findings if finding.level == level)


@dataclass(frozen=True, slots=True)
class CheckedSource:
    """A source as it is checked: its name, what it yields, and what its reader has to say afterwards."""

    name: str
    rows: Iterable[Example | Rejected]
    notes: Sequence[str] = ()
    """May be empty until the rows were read."""
    undecided: Sequence[Undecided] = ()
    """What can be read in two ways; may be empty until then, too."""
    unread: Sequence[tuple[int, str]] = ()
    """Rows whose documents have parts that were not read, and which; empty until the rows were read."""


def examine(
    data: CheckedSource,
    test: CheckedSource | None = None,
    *,
    recipe: Recipe | None = None,
    folder: Path | None = None,
    tokens_for: Callable[[Task], Tokens | None] = lambda _: None,
    features: Features = spelling_features,
    checks: Sequence[CheckFunction] = CHECKS,
    split: Splitter | None = None,
    handle: Callable[[str], None] = lambda _: None,
) -> Check:
    """Read the data (and the test) once, look through it, and write page and rejected rows into `folder`.

    `split` parts examples as a run would; without it, they are parted as by a home that has met none of them.
    `hear` is told what is being done.

    Raises:
        DataError: the source cannot be read, or holds no row at all.
    """
    start, seconds, recipe = time.monotonic(), dict[str, float](), recipe or Recipe.model_validate({})
    with Ingest(folder) as ingest:
        check_input, findings = _ingest(ingest, data, test, recipe, tokens_for, features, split, handle)
    seconds["reading"] = time.monotonic() - start
    findings += _run_checks(check_input, checks, seconds, handle)
    if recipe.personal_data in ("mask", "pseudonym"):
        findings = list(_masked(findings, recipe))
    check = Check(
        source=data.name,
        test_source=test.name if test else None,
        task=check_input.kind,
        base=check_input.tokens.base if check_input.tokens else None,
        counts=_counts(check_input),
        split=_sizes(check_input),
        findings=tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level))),
        rejected_file=str(ingest.rejected_file) if ingest.rejected_file else None,
        page=str(folder / PAGE) if folder else None,
        seconds=seconds,
    )
    check_input.close()
    if folder is not None:
        from azubi.data.checks.page import render

        files.write_text(folder / PAGE, render(check))
    return check


def _ingest(
    ingest: Ingest,
    data: CheckedSource,
    test: CheckedSource | None,
    recipe: Recipe,
    tokens_for: Callable[[Task], Tokens | None],
    features: Features,
    split: Splitter | None,
    handle: Callable[[str], None],
) -> tuple[CheckInput, list[Finding]]:
    """Read data and test, and say what the answers are, as a run does; with what there is to say of that."""
    inference, most = TaskInference(), recipe.limits.rejected

    def take(source: CheckedSource, seen: Callable[[Example], None]) -> tuple[TempDataset, Refusals]:
        return ingest.take(
            source.rows, source.name, most, partial(_report_reading, handle, source.name), seen
        )

    dataset, refusals = take(data, lambda example: inference.add(example.answer, example.line))
    tested, refused = take(test, lambda _: None) if test is not None else (None, Refusals())
    if not len(dataset) and not refusals.count:
        raise DataError(f"{data.name} has a header, but no rows.", "Bring a file with examples in it.")
    inputs = [data, *([test] if test else ())]
    findings = [_ambiguous(question, source.name) for source in inputs for question in source.undecided]
    findings += [_note(text) for source in inputs for text in source.notes]
    findings += [_unread(source.unread, source is test) for source in inputs if source.unread]
    task: Task = "text"
    try:
        task = inference.task(None if recipe.task == "auto" else recipe.task)
    except DataError as error:
        findings.append(_mixed(error))
    findings += [_note(text) for text in inference.notes(task)]
    if task == "json":
        dataset, refusals = ingest.records_of(dataset, refusals, data.name)
        if test is not None and tested is not None:
            tested, refused = ingest.records_of(tested, refused, test.name)
    schema = schemas.load(recipe.schema_) if recipe.schema_ is not None else {}
    check_input = CheckInput(
        dataset,
        task,
        tested,
        refusals,
        refused,
        tokens_for,
        recipe.split,
        features,
        schema,
        recipe.derive,
        recipe.patterns,
        recipe.names,
        answer=recipe.answer,
        parted=split or (lambda parts, _: split_by_recipe(parts, recipe)[1]),
        validation=partial(_validation, recipe, task),
    )
    return check_input, findings


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
    place = Path(folder) if folder is not None else None
    named = source if isinstance(source, Path | str) else "-"
    recipe = source_of(named, prompt, answer, test_data=test_data, **settings).recipe
    if not isinstance(source, Path | str):
        given = CheckedSource("the examples", source)
        return examine(given, recipe=recipe, folder=place, tokens_for=lambda _: tokens)
    return check_recipe(recipe, folder=place, tokens_for=lambda _: tokens)


def check_recipe(
    recipe: Recipe,
    *,
    folder: Path | None = None,
    tokens_for: Callable[[Task], Tokens | None] = lambda _: None,
    features: Features = spelling_features,
    checks: Sequence[CheckFunction] = CHECKS,
    split: Splitter | None = None,
    handle: Callable[[str], None] = lambda _: None,
) -> Check:
    """Look through the data that a recipe names, as the recipe reads and splits them; see `check`."""
    data = Source.of(recipe)
    test = Source(recipe, recipe.test_data) if recipe.test_data is not None else None
    return examine(
        _input(data, data),
        _input(test, data) if test else None,
        recipe=recipe,
        folder=folder,
        tokens_for=tokens_for,
        features=features,
        checks=checks,
        split=split,
        handle=handle,
    )


def _input(source: Source, data: Source) -> CheckedSource:
    """A source as it is checked; a test is read as the `data`, which were read before it, have shown."""
    undecided: list[Undecided] = []

    def rows() -> Iterator[Example | Rejected]:
        source.recipe = data.recipe
        yield from source.stream(undecided)

    return CheckedSource(source.name, rows(), source.notes, undecided, source.unread)


def _ambiguous(question: Undecided, name: str) -> Finding:
    return Finding(
        kind="ambiguous_values",
        level="error",
        title=f"{name}: {question.problem}",
        count=question.count,
        cases=tuple(Case(lines=(line,), text=text) for line, text in question.cases),
        why="Read in the wrong way, an amount is a thousand times too small and a date months away; nothing "
        "later would show it.",
        remedy=question.remedy,
    )


def _report_reading(handle: Callable[[str], None], name: str, rows: int) -> None:
    handle(f"Reading {name}: {rows:,} rows")


def _run_checks(
    check_input: CheckInput,
    checks: Sequence[CheckFunction],
    seconds: dict[str, float],
    handle: Callable[[str], None],
) -> Iterator[Finding]:
    if not len(check_input.data):
        yield from rejected_rows(check_input)
        return
    start = time.monotonic()
    handle("Comparing prompts")
    _ = check_input.pair_index.pairs
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


def _note(text: str) -> Finding:
    return Finding(
        kind="reading",
        level="note",
        title=text,
        count=1,
        why="A wrong guess spoils every row.",
        remedy="Look at a few of the rows that are quoted here; if something is wrong, say how it is to be "
        "read.",
    )


def _unread(unread: Sequence[tuple[int, str]], tests: bool) -> Finding:
    pictures = all(_PICTURES.fullmatch(parts) for _, parts in unread)
    return Finding(
        kind="unread_parts",
        level="note" if pictures else "warning",
        title=unread_parts(unread),
        count=len(unread),
        cases=tuple(Case(lines=(line,), text=parts) for line, parts in unread[:SHOWN]),
        why="What an answer follows from may stand there, and then it cannot be learned.",
        remedy="Bring what matters as text: scanned pages after text recognition (OCR), attachments as "
        "documents of their own. Logos can be left.",
        details={"splits": ["test"] if tests else []},
    )


_PICTURES = re.compile(r".*: [0-9,]+ pictures?")


def _mixed(error: DataError) -> Finding:
    return Finding(
        kind="mixed_answers",
        level="error",
        title=error.problem,
        count=1,
        why="A specialist gives records or texts, and which of them is meant cannot be told.",
        remedy=error.remedy,
    )


def _sizes(check_input: CheckInput) -> dict[str, int]:
    try:
        return {side: len(getattr(check_input.parts, side)) for side in SPLITS}
    except UsageError:
        return {}


def _validation(recipe: Recipe, task: Task) -> Sequence[Example] | None:
    if recipe.validation_data is None:
        return None
    source = Source(recipe, recipe.validation_data)
    reading = read_source(source)
    return (reject_faulty(source, reading, reject_non_record) if task == "json" else reading).examples


def _counts(check_input: CheckInput) -> dict[str, int]:
    counts = {
        "rows": len(check_input.data) + check_input.refusals.count,
        "examples": len(check_input.data),
        "rejected": check_input.refusals.count,
    }
    if check_input.test is not None:
        tests, refused = len(check_input.test), check_input.test_refusals.count
        counts |= {"test_rows": tests + refused, "test_examples": tests, "test_rejected": refused}
    return counts
