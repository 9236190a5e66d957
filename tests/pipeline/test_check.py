"""A check with a base's tokenizer, from a file on disk to the page."""

import json
import sys
from pathlib import Path

import pytest

from azubi.cli.recipe_file import recipe_from
from azubi.data.checks.check import check
from azubi.data.checks.split import small_splits
from azubi.engine.base import catalog
from azubi.engine.base.opening import open_base
from azubi.errors import BaseModelError
from azubi.pipeline import check as inspection
from azubi.pipeline.stages.data import keep, prepare
from azubi.pipeline.stages.run_context import RunContext
from azubi.registry.runs import unwritten
from azubi.settings import Recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture
def letters(tmp_path):
    rows = [
        f'"Where is my {thing} number {number}, please?",{thing}'
        for number in range(20)
        for thing in ("card", "key")
    ]
    file = tmp_path / "letters.csv"
    file.write_text("\n".join(["text,label", *rows, ",card", '"' + "and " * 400 + '",key']) + "\n")
    return file


def recipe(file, **more):
    return Recipe.model_validate({"data": file, "prompt": "text", "answer": "label", **more})


def done(working):
    """What a stage returns at its end."""
    while True:
        try:
            next(working)
        except StopIteration as end:
            return end.value


def of_kind(result, kind):
    return next(finding for finding in result.findings if finding.kind == kind)


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_lengths_are_those_that_training_meets(letters, home, bases, kind):
    check = inspection.inspect(recipe(letters, base=str(getattr(bases, kind))), home)
    details = of_kind(check, "lengths").details
    assert (details["unit"], details["base"]) == ("tokens", str(getattr(bases, kind)))
    assert details["longest"] > details["median"] > 5
    assert details["reads"] > 0
    assert check.level == "warning", "one that is too long is left out, as a run does"


def claims(file, count, footer, first=0):
    """Claims of a few policies on a few days, some nearly the same, with text that all share."""
    rows = ["text,label,policy,day"]
    for n in range(first, first + count):
        words = " ".join(f"w{n - n % 4 if n % 5 == 1 else n}x{place}" for place in range(12))
        text = f"Please sort this claim into a line: {words} IBAN DE89370400440532013000 {n}. {footer}"
        rows.append(f"{text},{'motor' if n % 3 else 'home'},P{n % 61},2025-{n % 12 + 1:02}-01")
    file.write_text("\n".join(rows) + "\n")
    return file


WAYS = {
    "by prompt": {},
    "with a large test": {"split": {"test": 0.3}},
    "by group": {"split": {"by": "group"}, "group": "policy"},
    "by time": {"split": {"by": "time"}, "time": "day"},
    "masked": {"personal_data": "mask"},
    "with stand-ins": {"personal_data": "pseudonym"},
    "with a limit": {"limit": 60, "test_limit": 9},
    "with a test": {"test_data": 40},
    "with test and validation": {"test_data": 60, "validation_data": 40},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_split_that_is_shown_is_the_one_of_the_run(way, tmp_path, home):
    footer = "Sent by Anna Blum with kind regards from all of us at the office in Kassel"
    more = dict(WAYS[way])
    for first, name in enumerate(("test_data", "validation_data"), start=3):
        if name in more:
            more[name] = claims(tmp_path / f"{name}.csv", more[name], f"{name} {footer}", first * 100)
    for seed, count in enumerate((120, 170, 240)):  # later ones keep to what the earlier ones settled
        wanted = recipe(claims(tmp_path / "claims.csv", count, footer), **more, seed=seed % 2)
        context = RunContext(home, unwritten("claims", tmp_path), 0.0, wanted)
        data = done(prepare(context, {}))
        assert inspection.inspect(wanted, home, checks=[small_splits]).split == data.counts
        keep(context, data)


def test_page_and_rejected_rows_lie_below_home_and_the_same_check_in_the_same_place(letters, home, bases):
    settings = recipe(letters, base=str(bases.encoder))
    first, second = (inspection.inspect(settings, home) for _ in range(2))
    assert first.page == second.page
    assert first.page.startswith(str(home / "checks" / "letters.csv-"))
    assert first.counts["rejected"] == 1
    assert "42" in Path(first.rejected_file).read_text()


def test_a_base_that_is_named_has_to_be_there(letters, home):
    with pytest.raises(BaseModelError, match="nowhere"):
        inspection.inspect(recipe(letters, base="nowhere"), home)


def test_without_a_base_of_its_own_lengths_are_in_characters(letters, home, monkeypatch):
    def gone(name, home):
        raise BaseModelError(f"The base {name} is not here.")

    monkeypatch.setattr("azubi.engine.base.opening.open_base", gone)
    assert of_kind(inspection.inspect(recipe(letters), home), "lengths").details["unit"] == "characters"


@pytest.mark.parametrize("letter, unit", [("a note", "characters"), ("a long note " * 700, "tokens")])
def test_a_base_is_unpacked_only_if_an_example_may_be_too_long(
    tmp_path, home, bases, monkeypatch, letter, unit
):
    opened = []
    entry = catalog.ENTRIES[0].model_copy(update={"context": 8_000})
    monkeypatch.setattr(catalog, "packed", lambda name, home: entry)
    monkeypatch.setattr(
        inspection, "_opened", lambda name, home: opened.append(name) or open_base(str(bases.decoder), home)
    )
    rows = [{"prompt": f"{letter} {number}", "answer": f"Dear {number}, thank you."} for number in range(20)]
    file = tmp_path / "letters.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    check = inspection.inspect(Recipe(data=file), home)
    assert of_kind(check, "lengths").details["unit"] == unit
    assert bool(opened) == (unit == "tokens") == (check.base is not None)


def test_from_python_without_a_base(letters, tmp_path):
    result = check(letters, "text", "label", folder=tmp_path / "out")
    assert result.task == "labels"
    assert of_kind(result, "lengths").details["unit"] == "characters"
    assert (tmp_path / "out" / "check.html").is_file()
    assert (tmp_path / "out" / "rejected.jsonl").is_file()


def test_from_python_with_examples_and_with_a_test(letters, tmp_path):
    from azubi.data.example import Example, Turn

    rows = [Example((Turn("user", f"Question {number}"),), "yes", number) for number in range(9)]
    assert check(rows).counts["examples"] == 9
    assert of_kind(check(letters, "text", "label", test_data=letters), "leak_prompts").count == 41


# The example company's inbox: what was planted is found, where it was planted.

KINDS = {
    "no_answer": "rejected_rows",
    "broken_encoding": "rejected_rows",
    "broken_row": "rejected_rows",
    "no_number": "rejected_rows",
    "exact_duplicate": "repeated_examples",
    "near_duplicate": "near_duplicates",
    "contradiction": "contradictions",
    "label_case": "label_variants:team",
    "label_typo": "label_variants:team",
    "rare_label": "rare_labels:team",
    "schema_break": "breaks_schema",
    "rule_break": "hidden_rules",
    "wrong_answer": "likely_wrong",
    "too_long": "too_long",
    "other_language": "languages",
    "leak_near_equal": "leak_near_prompts",
    "leak_group": "leak_groups",
    "leak_answer_in_prompt": "leak_answers",
    "leak_time": "leak_time",
}


@pytest.fixture(scope="module")
def inbox(tmp_path_factory):
    """A check of the inbox, and what was planted in it."""
    sys.path.insert(0, str(ROOT / "examples" / "insurer"))
    from faults import NEW, OLD, write_inbox

    folder = tmp_path_factory.mktemp("inbox")
    planted = write_inbox(folder)
    wanted = recipe_from(
        ROOT / "recipes" / "inbox.yaml", {"data": str(folder / OLD), "test_data": str(folder / NEW)}
    )
    return inspection.inspect(wanted, folder / "home"), {fault.fault: fault for fault in planted}


@pytest.mark.parametrize("fault", KINDS)
def test_what_was_planted_is_found_where_it_was_planted(inbox, fault):
    check, planted = inbox
    places = {line for _, line in planted[fault].places}
    findings = [finding for finding in check.findings if finding.kind == KINDS[fault]]
    assert any(places & set(case.lines) for finding in findings for case in finding.cases), [
        (finding.kind, finding.cases) for finding in check.findings
    ]


def test_personal_data_of_each_planted_kind_are_counted(inbox):
    check, planted = inbox
    (personal,) = [finding for finding in check.findings if finding.kind == "personal_data"]
    kinds = {name.removeprefix("personal_") for name in planted if name.startswith("personal_")}
    assert len(kinds) == 10
    assert len(personal.details["kinds"]) >= 10
