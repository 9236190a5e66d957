"""The split that a run would make: parts that are too small, and what train and test have in common.

Also answers that the prompt gives away. Knows nothing of how the split is made.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from azubi.data.checks.check_input import I64, CheckInput, as_record
from azubi.data.checks.ingest import TempDataset
from azubi.data.example import SPLITS, Example
from azubi.data.finding import SHOWN, Case, Finding, Level, differing, excerpt, share, some
from azubi.data.splits.boilerplate import normalised
from azubi.data.splits.splitting import HANDFUL, remedy
from azubi.errors import UsageError

_WHY_SMALL = {
    "validation": "The best epoch is chosen by it; with so few, by chance.",
    "test": "What is measured with so few may be off by ten percentage points and more.",
}


def small_splits(check_input: CheckInput) -> Iterator[Finding]:
    """Sides of the split that are empty, hold a handful, or one label only."""
    try:
        parts = check_input.parts
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
    for name, why in _WHY_SMALL.items():
        examples = getattr(parts, name)
        lone = check_input.kind == "labels" and len({example.answer for example in examples}) < 2
        if len(examples) < HANDFUL or lone:
            yield Finding(
                kind=f"small_{name}",
                level="warning",
                title=f"The {name} side of the split gets {some(len(examples), 'example')}"
                f"{', all with the same label' if lone else ''}.",
                count=len(examples),
                why=why,
                remedy=f"Bring a larger file for the {name}."
                if f"{name}_data" in check_input.sources
                else remedy(parts, check_input.split, len(check_input.data)),
                details={name: len(getattr(parts, name)) for name in SPLITS},
            )


LONGEST_CHANCE = 20
"""Characters; an answer that is longer does not stand in its prompt by chance."""
SHORTEST = 3
"""Characters; shorter answers are not looked for."""
COPIED = 0.2
"""Share of the prompts that hold a field's code from which on it is there to be copied."""
_CODE = re.compile(r"(?=\w*\d)(?=\w*[^\W\d_])\w{3,20}")
"""A code: one word of letters and figures."""
USUAL = 0.5
"""From this share on, labels that stand in the prompt give the task away, and copied texts are the task."""

_SPLITS = {"splits": ["data", "test"]}


def leaked_prompts(check_input: CheckInput) -> Iterator[Finding]:
    """Prompts of the test that stand in the data too, or nearly."""
    if check_input.test is None:
        return
    pair_index = check_input.pair_index
    first, second, alike = pair_index.pairs
    across = (first < pair_index.border) & (second >= pair_index.border)
    first, second, alike = first[across], second[across], alike[across]
    equal, at = np.unique(second[alike == 1.0], return_index=True)
    if len(equal):
        yield _prompts(check_input, "same", first[alike == 1.0][at], equal)
    near = (alike < 1.0) & ~np.isin(second, equal)
    later, at = np.unique(second[near], return_index=True)
    if len(later):
        yield _prompts(check_input, "near", first[near][at], later)


def _prompts(check_input: CheckInput, how: str, first: I64, second: I64) -> Finding:
    tests, near = len(check_input.test or ()), how == "near"
    pairs = list(zip(first[:SHOWN].tolist(), second[:SHOWN].tolist(), strict=True))
    examples = check_input.shown(place for pair in pairs for place in pair)
    alike = "nearly the same" if near else "the same"
    return Finding(
        kind="leak_near_prompts" if near else "leak_prompts",
        level="warning",
        title=f"{some(len(second), 'test prompt stands', 'test prompts stand')} in the data "
        f"{'with nearly the same words' if near else 'too'} ({share(len(second) / tests)} of the test).",
        count=len(second),
        cases=tuple(
            Case(
                lines=(examples[earlier].line, examples[later].line),
                text="\n".join(differing(examples[earlier].prompt, examples[later].prompt))
                if near
                else excerpt(examples[later].prompt),
            )
            for earlier, later in pairs
        ),
        why=f"What was learned is asked again with {alike} words: the test measures memory, and promises "
        "more than the specialist will hold.",
        remedy="Take them out of the data or out of the test. azubi does not learn from what the test "
        "that it is given asks too.",
        details={**_SPLITS, "share": len(second) / tests},
    )


def leaked_groups(check_input: CheckInput) -> Iterator[Finding]:
    """Groups (a policyholder's rows, say) of which some rows are learned and some tested."""
    if check_input.test is None:
        yield from _groups_to_be_parted(check_input)
        return
    tested: dict[str, int] = {}
    for batch in check_input.test.batches():
        for example in batch:
            if example.group:
                tested.setdefault(example.group, example.line)
    shared: dict[str, int] = {}
    for example in check_input.examples():
        if example.group in tested:
            shared.setdefault(example.group, example.line)
    if not shared:
        return
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
        why="Rows of one group resemble each other. The specialist then knows part of the test's cases "
        "already, and will do worse on groups that it has never met.",
        remedy="Put each group on one side. Without a test of your own, split: {by: group} does it.",
        details=_SPLITS,
    )


def _groups_to_be_parted(check_input: CheckInput) -> Iterator[Finding]:
    if check_input.split.by == "group":
        return
    counts = Counter(example.group for example in check_input.examples() if example.group)
    parted = {group for group, count in counts.items() if count > 1}
    if not parted:
        return
    lines: dict[str, list[int]] = {}
    for example in check_input.examples():
        if example.group in parted and (example.group in lines or len(lines) < SHOWN):
            lines.setdefault(example.group, []).append(example.line)
    yield Finding(
        kind="leak_groups",
        level="warning",
        title=f"{some(len(parted), 'group has', 'groups have')} several rows, and the split goes by "
        f"{check_input.split.by}: they would stand on both sides.",
        count=len(parted),
        cases=tuple(
            Case(
                lines=tuple(numbers[:SHOWN]), text=f"group {excerpt(group, 60)}: {some(counts[group], 'row')}"
            )
            for group, numbers in lines.items()
        ),
        why="Rows of one group resemble each other. The specialist then knows part of the test's cases "
        "already, and will do worse on groups that it has never met.",
        remedy="Set split: {by: group} in the recipe, or --split-by group.",
    )


def answers_in_prompt(check_input: CheckInput) -> Iterator[Finding]:
    """Answers that stand word for word in their own prompt."""
    count, codes, cases = 0, 0, list[Case]()
    labels = check_input.kind == "labels"
    for example in check_input.examples():
        if not _stands_in_prompt(example.answer, check_input.pair_index.index.rest(example.prompt), labels):
            continue
        count += 1
        codes += _is_code(example.answer)
        if len(cases) < SHOWN:
            cases.append(Case(lines=(example.line,), text=_quoted(example)))
    if not count:
        return
    part = count / len(check_input.data)
    yield Finding(
        kind="leak_answers",
        level=_level(labels, part, codes),
        title=f"{some(count, 'answer stands', 'answers stand')} word for word in the prompt ({share(part)}).",
        count=count,
        cases=tuple(cases),
        why="If the answer came into the prompt by an export, the model learns to copy it, scores well, and "
        "fails on new cases, where nobody has written it there yet.",
        remedy="See whether the prompt holds a column that is only filled after the decision. If people "
        "write these words themselves, or copying them out is the task, all is well.",
        details={"share": part},
    )


def _level(labels: bool, part: float, codes: int) -> Level:
    """People may well say labels in plain words, but no codes, nor whole texts unless copying is the task."""
    if labels:
        return "warning" if codes or part >= USUAL else "note"
    return "note" if part >= USUAL else "warning"


def _stands_in_prompt(answer: str, prompt: str, label: bool) -> bool:
    """Whether an answer stands in a prompt, of which only what it does not share with many is looked at."""
    answer = normalised(answer)
    if len(answer) < (SHORTEST if label else LONGEST_CHANCE) or answer not in prompt:
        return False
    return re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", prompt) is not None


def _is_code(label: str) -> bool:
    """Whether a label is nothing that people write in a sentence."""
    return re.search(r"[\d_]", label) is not None


def _quoted(example: Example) -> str:
    prompt, answer = " ".join(example.prompt.split()), " ".join(example.answer.split())
    at = prompt.casefold().find(answer.casefold())
    begin = max(0, at - 30)
    return f"{excerpt(answer, 40)} in {excerpt(('…' if begin else '') + prompt[begin:], 100)}"


def codes_in_prompt(check_input: CheckInput) -> Iterator[Finding]:
    """Codes of records that stand in a few prompts: somebody has noted the decision there."""
    if check_input.kind != "json":
        return
    yield from _codes(check_input.data, "data")
    if check_input.test is not None:
        yield from _codes(check_input.test, "test")


def _codes(dataset: TempDataset, side: str) -> Iterator[Finding]:
    """Of one side; a field whose codes stand in most prompts is there to be copied."""
    asked, given = Counter[str](), Counter[str]()
    cases: dict[str, list[Case]] = {}
    for batch in dataset.batches():
        for example in batch:
            for field, value in (as_record(example.answer) or {}).items():
                if not (isinstance(value, str) and _CODE.fullmatch(value)):
                    continue
                asked[field] += 1
                if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", example.prompt):
                    given[field] += 1
                    text = f"{field}: {_quoted(replace(example, answer=value))}"
                    cases.setdefault(field, []).append(Case(lines=(example.line,), text=text))
                    del cases[field][SHOWN:]
    few = [field for field, count in given.items() if count <= COPIED * asked[field]]
    if not few:
        return
    count = sum(given[field] for field in few)
    yield Finding(
        kind="leak_codes" if side == "data" else "leak_test_codes",
        level="warning",
        title=f"{some(count, 'code stands', 'codes stand')} in the prompt, where it is to be found "
        f"({', '.join(few)}).",
        count=count,
        cases=tuple([case for field in few for case in cases[field]][:SHOWN]),
        why="Most prompts do not tell the code, so somebody has added it after the decision. Learned from, "
        "it teaches to copy; in a test, it promises more than new cases will hold.",
        remedy="Take the addition out of these prompts.",
        details={"splits": [side], "fields": {field: given[field] for field in few}},
    )


def backward_time(check_input: CheckInput) -> Iterator[Finding]:
    """Rows that are learned from although they are later than a row of the test; or, if those are fewer, the
    rows of the test that are that early."""
    if check_input.test is None:
        return
    latest = max((example.time for example in check_input.examples()), default="")
    earliest = min((example.time for example in _timed(check_input.test)), default="")
    if not latest or not earliest or latest <= earliest:
        return
    late, later = _counted(check_input.data, lambda time: time > earliest)
    early, earlier = _counted(check_input.test, lambda time: time < latest)
    if late <= early:
        count, cases, side = late, later, "data"
        what = f"the data {'is' if late == 1 else 'are'} later than the test's earliest ({earliest})"
    else:
        count, cases, side = early, earlier, "test"
        what = f"the test {'is' if early == 1 else 'are'} earlier than the latest of the data ({latest})"
    yield Finding(
        kind="leak_time",
        level="warning",
        title=f"{some(count, 'row')} of {what}.",
        count=count,
        cases=cases,
        why="In use, the specialist meets cases that come after all it has learned. Learning from later "
        "ones, it knows rules, prices and events that it could not have known, and scores too well.",
        remedy="Take as the test what is later than all the rest. Without a test of your own, split: {by: "
        "time} does it.",
        details={
            "splits": [side],
            "earliest_test": earliest,
            "latest": latest,
            "share": late / sum(1 for _ in _timed(check_input.data)),
        },
    )


def _counted(dataset: TempDataset, fits: Callable[[str], bool]) -> tuple[int, tuple[Case, ...]]:
    """How many examples have such a time, and the first of them."""
    count, first = 0, list[Case]()
    for example in _timed(dataset):
        if fits(example.time):
            count += 1
            if len(first) < SHOWN:
                first.append(
                    Case(lines=(example.line,), text=f"{example.time}: {excerpt(example.prompt, 80)}")
                )
    return count, tuple(first)


def _timed(dataset: TempDataset) -> Iterator[Example]:
    """The examples that tell their time."""
    for batch in dataset.batches():
        yield from (example for example in batch if example.time)
