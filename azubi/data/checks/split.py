"""The split that a run would make: parts that are too small, and what train and test have in common.

Also answers that the prompt gives away. Knows nothing of how the split is made.
"""

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from azubi.data.checks.check_input import I64, CheckInput
from azubi.data.example import SPLITS
from azubi.data.finding import SHOWN, Case, Finding, Level, differing, excerpt, share, some
from azubi.data.splits.near_duplicates import normalised
from azubi.data.splits.splitting import HANDFUL, remedy
from azubi.errors import UsageError

LONGEST_CHANCE = 20
"""Characters; an answer that is longer does not stand in its prompt by chance."""
SHORTEST = 3
"""Characters; shorter answers are not looked for."""
COPIED = 0.2
"""Share of the prompts that hold a field's code from which on it is there to be copied."""
USUAL = 0.5
"""From this share on, labels that stand in the prompt give the task away, and copied texts are the task."""

_CODE = re.compile(r"(?=\w*\d)(?=\w*[^\W\d_])\w{3,20}")
"""A code: one word of letters and figures."""
_WHY_SMALL = {
    "validation": "The best epoch is chosen by it; with so few, by chance.",
    "test": "What is measured with so few may be off by ten percentage points and more.",
}
_WHY_GROUPS = (
    "Rows of one group resemble each other. The specialist then knows part of the test's cases already, and "
    "will do worse on groups that it has never met."
)


def small_splits(check_input: CheckInput) -> Iterator[Finding]:
    """Splits that are empty, hold a handful, or one label only."""
    try:
        split = check_input.split
    except UsageError as error:
        yield Finding(
            kind="split",
            level="error",
            title=error.problem,
            count=1,
            why="azubi learns from one split, chooses the best epoch with another, and tests with a third.",
            remedy=error.remedy,
        )
        return
    recipe = check_input.recipe
    brought = {"validation": recipe.validation_data is not None, "test": check_input.test is not None}
    for name, why in _WHY_SMALL.items():
        examples = getattr(split, name)
        one_label = check_input.task == "labels" and len({example.answer for example in examples}) < 2
        if len(examples) < HANDFUL or one_label:
            yield Finding(
                kind=f"small_{name}",
                level="warning",
                title=f"The {name} side of the split gets {some(len(examples), 'example')}"
                f"{', all with the same label' if one_label else ''}.",
                count=len(examples),
                why=why,
                remedy=f"Bring a larger file for the {name}."
                if brought[name]
                else remedy(split, recipe.split, len(check_input.data)),
                details={split_name: len(getattr(split, split_name)) for split_name in SPLITS},
            )


def leaked_prompts(check_input: CheckInput) -> Iterator[Finding]:
    """Prompts of the test that stand in the data too, or nearly."""
    border = len(check_input.data)
    first, second, alike = check_input.pairs
    across = (first < border) & (second >= border)
    first, second, alike = first[across], second[across], alike[across]
    equal, at = np.unique(second[alike == 1.0], return_index=True)
    if len(equal):
        yield _leak_finding(check_input, first[alike == 1.0][at], equal, near=False)
    near = (alike < 1.0) & ~np.isin(second, equal)
    later, at = np.unique(second[near], return_index=True)
    if len(later):
        yield _leak_finding(check_input, first[near][at], later, near=True)


def _leak_finding(check_input: CheckInput, first: I64, second: I64, *, near: bool) -> Finding:
    part = len(second) / len(check_input.test or ())
    examples = check_input.examples
    cases = []
    for place, other in zip(first[:SHOWN].tolist(), second[:SHOWN].tolist(), strict=True):
        data, test = examples[place], examples[other]
        text = "\n".join(differing(data.prompt, test.prompt)) if near else excerpt(test.prompt)
        cases.append(Case(lines=(data.line, test.line), text=text))
    return Finding(
        kind="leak_near_prompts" if near else "leak_prompts",
        level="warning",
        title=f"{some(len(second), 'test prompt stands', 'test prompts stand')} in the data "
        f"{'with nearly the same words' if near else 'too'} ({share(part)} of the test).",
        count=len(second),
        cases=tuple(cases),
        why=f"What was learned is asked again with {'nearly the same' if near else 'the same'} words: the "
        "test measures memory, and promises more than the specialist will hold.",
        remedy="Take them out of the data or out of the test. azubi does not learn from what the test "
        "that it is given asks too.",
        details={"splits": ["data", "test"], "share": part},
    )


def leaked_groups(check_input: CheckInput) -> Iterator[Finding]:
    """Groups (a policyholder's rows, say) of which some rows are learned and some tested."""
    if check_input.test is None:
        yield from _groups_to_be_parted(check_input)
        return
    tested: dict[str, int] = {}
    for example in check_input.test:
        if example.group:
            tested.setdefault(example.group, example.line)
    shared: dict[str, int] = {}
    for example in check_input.data:
        if example.group in tested:
            shared.setdefault(example.group, example.line)
    if shared:
        yield Finding(
            kind="leak_groups",
            level="warning",
            title=f"{some(len(shared), 'group stands', 'groups stand')} in the data and in the test "
            f"({share(len(shared) / len(tested))} of the test's groups).",
            count=len(shared),
            cases=tuple(
                Case(lines=(line, tested[group]), text=f"group {excerpt(group, 60)}")
                for group, line in list(shared.items())[:SHOWN]
            ),
            why=_WHY_GROUPS,
            remedy="Put each group on one side. Without a test of your own, split: {by: group} does it.",
            details={"splits": ["data", "test"]},
        )


def _groups_to_be_parted(check_input: CheckInput) -> Iterator[Finding]:
    by = check_input.recipe.split.by
    lines: dict[str, list[int]] = {}
    for example in check_input.data:
        if example.group and by != "group":
            lines.setdefault(example.group, []).append(example.line)
    parted = {group: numbers for group, numbers in lines.items() if len(numbers) > 1}
    if parted:
        yield Finding(
            kind="leak_groups",
            level="warning",
            title=f"{some(len(parted), 'group has', 'groups have')} several rows, and the split goes by "
            f"{by}: they would stand on both sides.",
            count=len(parted),
            cases=tuple(
                Case(
                    lines=tuple(numbers[:SHOWN]),
                    text=f"group {excerpt(group, 60)}: {some(len(numbers), 'row')}",
                )
                for group, numbers in list(parted.items())[:SHOWN]
            ),
            why=_WHY_GROUPS,
            remedy="Set split: {by: group} in the recipe, or --split-by group.",
        )


def backward_time(check_input: CheckInput) -> Iterator[Finding]:
    """Rows that are learned from although they are later than a row of the test; or, if those are fewer, the
    rows of the test that are that early."""
    data = [example for example in check_input.data if example.time]
    test = [example for example in check_input.test or () if example.time]
    if not data or not test:
        return
    latest = max(example.time for example in data)
    earliest = min(example.time for example in test)
    late = [example for example in data if example.time > earliest]
    early = [example for example in test if example.time < latest]
    if not late:
        return
    if len(late) <= len(early):
        rows, of = late, "data"
        count = some(len(late), "row of the data is", "rows of the data are")
        title = f"{count} later than the test's earliest ({earliest})."
    else:
        rows, of = early, "test"
        count = some(len(early), "row of the test is", "rows of the test are")
        title = f"{count} earlier than the latest of the data ({latest})."
    yield Finding(
        kind="leak_time",
        level="warning",
        title=title,
        count=len(rows),
        cases=tuple(
            Case(lines=(example.line,), text=f"{example.time}: {excerpt(example.prompt, 80)}")
            for example in rows[:SHOWN]
        ),
        why="In use, the specialist meets cases that come after all it has learned. Learning from later "
        "ones, it knows rules, prices and events that it could not have known, and scores too well.",
        remedy="Take as the test what is later than all the rest. Without a test of your own, split: {by: "
        "time} does it.",
        details={
            "splits": [of],
            "earliest_test": earliest,
            "latest": latest,
            "share": len(late) / len(data),
        },
    )


# Answers that the prompt gives away


def answers_in_prompt(check_input: CheckInput) -> Iterator[Finding]:
    """Answers that stand word for word in their own prompt."""
    labels, rest_of = check_input.task == "labels", check_input.near_index.rest
    shortest = SHORTEST if labels else LONGEST_CHANCE
    copied = [
        example
        for example in check_input.data
        if len(answer := normalised(example.answer)) >= shortest
        and _stands_in(answer, rest_of(example.prompt))
    ]
    if not copied:
        return
    part = len(copied) / len(check_input.data)
    level: Level = "note" if part >= USUAL else "warning"
    if labels:
        # People may well say labels in plain words, but no codes.
        codes = any(re.search(r"[\d_]", example.answer) for example in copied)
        level = "warning" if codes or part >= USUAL else "note"
    yield Finding(
        kind="leak_answers",
        level=level,
        title=f"{some(len(copied), 'answer stands', 'answers stand')} word for word in the prompt "
        f"({share(part)}).",
        count=len(copied),
        cases=tuple(
            Case(lines=(example.line,), text=_quoted(example.answer, example.prompt))
            for example in copied[:SHOWN]
        ),
        why="If the answer came into the prompt by an export, the model learns to copy it, scores well, and "
        "fails on new cases, where nobody has written it there yet.",
        remedy="See whether the prompt holds a column that is only filled after the decision. If people "
        "write these words themselves, or copying them out is the task, all is well.",
        details={"share": part},
    )


def codes_in_prompt(check_input: CheckInput) -> Iterator[Finding]:
    """Codes of records that stand in a few prompts: somebody has noted the decision there.

    A field whose codes stand in most prompts is there to be copied.
    """
    if check_input.task != "json":
        return
    records = iter(check_input.records)
    for prefix, examples, _ in check_input.parts:
        asked: Counter[str] = Counter()
        cases: dict[str, list[Case]] = {}
        for example, record in zip(examples, records, strict=False):
            for field, value in (record or {}).items():
                if not (isinstance(value, str) and _CODE.fullmatch(value)):
                    continue
                asked[field] += 1
                if _stands_in(value, example.prompt):
                    text = f"{field}: {_quoted(value, example.prompt)}"
                    cases.setdefault(field, []).append(Case(lines=(example.line,), text=text))
        few = {field: of_field for field, of_field in cases.items() if len(of_field) <= COPIED * asked[field]}
        if few:
            yield _codes_finding(few, "test" if prefix else "data")


def _codes_finding(cases: dict[str, list[Case]], of: str) -> Finding:
    every = [case for of_field in cases.values() for case in of_field]
    shown = [case for of_field in cases.values() for case in of_field[:SHOWN]][:SHOWN]
    return Finding(
        kind="leak_codes" if of == "data" else "leak_test_codes",
        level="warning",
        title=f"{some(len(every), 'code stands', 'codes stand')} in the prompt, where it is to be found "
        f"({', '.join(cases)}).",
        count=len(every),
        cases=tuple(shown),
        why="Most prompts do not tell the code, so somebody has added it after the decision. Learned from, "
        "it teaches to copy; in a test, it promises more than new cases will hold.",
        remedy="Take the addition out of these prompts.",
        details={"splits": [of], "fields": {field: len(of_field) for field, of_field in cases.items()}},
    )


def _stands_in(words: str, text: str) -> bool:
    return words in text and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def _quoted(answer: str, prompt: str) -> str:
    prompt, answer = " ".join(prompt.split()), " ".join(answer.split())
    begin = max(0, prompt.casefold().find(answer.casefold()) - 30)
    return f"{excerpt(answer, 40)} in {excerpt(('…' if begin else '') + prompt[begin:], 100)}"
