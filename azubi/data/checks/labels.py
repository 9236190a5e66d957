"""Labels: how many of each, which are rare, which are two spellings of one, and which are lists of labels.

The values of a record's closed fields are labels, too. Does not know what a label means, nor whether it was
given rightly.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from azubi.data.checks.check_input import CheckInput
from azubi.data.contract import FEWEST_REPEATS, LEARNABLE, LONGEST_LABEL, MOST_LABELS
from azubi.data.finding import SHOWN, Case, Finding, excerpt, share, some
from azubi.data.levels import declared_order, declaring, levels_of
from azubi.data.splits.near_duplicates import folded
from azubi.errors import UsageError

DOMINANT = 0.5
"""Share of all examples at which one label may outweigh the others …"""
TIMES = 10
"""… if it has that many times the examples of the label in the middle."""
SLIP = 0.1
"""A label that is one letter off another is taken for a slip if it has at most this share of its examples."""
_MOST_COMPARED = 1_000
"""Labels that are compared with each other letter by letter."""
_SHORTEST = 5
"""Letters; shorter labels that differ in one letter are mostly meant so."""
_LISTED = 500
"""Labels whose counts are given."""
_MOST_ANSWERS = 20_000
"""With more different answers, none is looked at as a list of labels."""
_SEPARATORS = (";", "|", ",", "/", "+", "&", "\n")
_RECURRING = 0.8
"""Share of the parts that stand in more than one combination, if the parts are labels."""


def label_counts(check_input: CheckInput) -> Iterator[Finding]:
    """How many examples each label has."""
    counts = check_input.label_counts.most_common()
    if check_input.task != "labels" or not counts:
        return
    total = len(check_input.data)
    (most, often), (least, seldom) = counts[0], counts[-1]
    yield Finding(
        kind="label_counts",
        level="note",
        routine=True,
        title=f"{some(len(counts), 'label')}; {excerpt(most, 40)} has the most examples ({often:,}, "
        f"{share(often / total)}), {excerpt(least, 40)} the fewest ({seldom:,}).",
        count=len(counts),
        why="A model learns what it sees often. What a label means for the score, its count decides.",
        remedy="See that the labels are those that you mean, and that none is missing.",
        details={"labels": [list(pair) for pair in counts[:_LISTED]], "examples": total},
    )


def label_imbalance(check_input: CheckInput) -> Iterator[Finding]:
    """One label that outweighs all others."""
    counts = check_input.label_counts.most_common()
    if check_input.task != "labels" or check_input.multi or len(counts) < 2:
        return
    total = len(check_input.data)
    (name, often), middle = counts[0], counts[len(counts) // 2][1]
    if often < DOMINANT * total or often < TIMES * middle:
        return
    yield Finding(
        kind="label_imbalance",
        level="warning",
        title=f"{excerpt(name, 40)} is the answer of {share(often / total)} of the examples.",
        count=often,
        why=f"Whoever always says {excerpt(name, 40)} is right that often. Rare labels are then easily never "
        "said, and the share of right answers hides it: look at macro-F1 in the report.",
        remedy="Set label_weights: balanced (--label-weights balanced), or bring more examples of the "
        "others.",
        details={"share": often / total, "times_the_middle": often / middle},
    )


def label_levels(check_input: CheckInput) -> Iterator[Finding]:
    """Labels that have levels, such as line/peril, or that may have some."""
    if check_input.task != "labels" or check_input.multi:
        return
    levels, title, remedy = levels_of(sorted(check_input.answer_counts), check_input.recipe.answer)
    if title:
        yield Finding(
            kind="label_levels",
            level="note" if levels else "warning",
            title=title,
            count=len(check_input.answer_counts),
            why="With levels, the upper one can be right, or certain, where the whole label is not: a report "
            "says how often, and an answer that is certain at the upper level alone says so.",
            remedy=remedy,
            details={"levels": list(levels.names) if levels else []},
        )


def label_order(check_input: CheckInput) -> Iterator[Finding]:
    """An order that does not name all labels, or whole numbers that may have one."""
    labels = sorted(check_input.answer_counts)
    if check_input.task != "labels" or check_input.multi:
        return
    order = declared_order(check_input.recipe.answer)
    missing = [label for label in labels if label not in order]
    if order and missing:
        yield Finding(
            kind="label_order",
            level="error",
            title=f"{some(len(missing), 'label')} without a place in the order that is given: "
            f"{', '.join(excerpt(label, 40) for label in missing[:SHOWN])}.",
            count=len(missing),
            why="How far off a wrong answer is follows from the order.",
            remedy="Name every label once in order, from the lowest to the highest.",
        )
    if not order and len(labels) > 2 and all(label.isdecimal() for label in labels):
        numbers = sorted(labels, key=int)
        grades = ", ".join(numbers[:SHOWN]) + ", …" * (len(numbers) > SHOWN)
        setting = declaring(check_input.recipe.answer, f"order: [{grades}]")
        yield Finding(
            kind="label_order",
            level="note",
            title=f"All {len(labels)} labels are numbers, from {numbers[0]} to {numbers[-1]}: "
            "they may be grades.",
            count=len(labels),
            why="With an order a report says, too, how far off the wrong answers are.",
            remedy=f"If they are grades, say so: {setting}.",
        )


# Checks of labels, or of the values of each closed field


def _label_sets(check_input: CheckInput) -> Iterator[tuple[str, Counter[str]]]:
    """How often each label occurs, with no name; of records, each closed field and its values."""
    if check_input.task == "labels":
        yield "", check_input.label_counts
    if check_input.task != "json":
        return
    fields: dict[str, Counter[str]] = {}
    open_fields: set[str] = set()
    for _, record in check_input.records_of_data:
        for name, value in record.items():
            if isinstance(value, str) and name not in open_fields:
                counts = fields.setdefault(name, Counter())
                counts[value] += 1
                if len(counts) > MOST_LABELS or len(value) > LONGEST_LABEL:
                    open_fields.add(name)
                    del fields[name]
    for name, counts in fields.items():
        if len(counts) * FEWEST_REPEATS <= counts.total():
            yield name, counts


def _kind(kind: str, field: str) -> str:
    return f"{kind}:{field}" if field else kind


def _nouns(field: str) -> tuple[str, str]:
    name = excerpt(field, 40)
    return (f"value of {name}", f"values of {name}") if field else ("label", "labels")


def _lines_of(check_input: CheckInput, labels: Collection[str], field: str) -> dict[str, list[int]]:
    """The first lines at which each of some labels stands."""
    lines: dict[str, list[int]] = {label: [] for label in labels}
    for example, record in zip(check_input.data, check_input.records, strict=False):
        values = [(record or {}).get(field)] if field else check_input.labels(example)
        for value in values:
            if isinstance(value, str) and value in lines and len(lines[value]) < SHOWN:
                lines[value].append(example.line)
    return lines


def rare_labels(check_input: CheckInput) -> Iterator[Finding]:
    """Labels with fewer than five examples to learn from; no misspelt ones."""
    for field, counts in _label_sets(check_input):
        misspelt = {label for label, _, _ in _spellings(counts)}
        learned = counts if field else _training_counts(check_input)
        rare = sorted(
            (learned[label], label)
            for label in counts
            if learned[label] < LEARNABLE and label not in misspelt
        )
        if not rare:
            continue
        noun, plural = _nouns(field)
        lines = _lines_of(check_input, [label for _, label in rare[:SHOWN]], field)
        of_them = "" if field else " to learn from"
        yield Finding(
            kind=_kind("rare_labels", field),
            level="warning",
            title=f"{some(len(rare), f'{noun} has', f'{plural} have')} fewer than {LEARNABLE} "
            f"examples{of_them}.",
            count=len(rare),
            cases=tuple(
                Case(lines=tuple(lines[label]), text=_rare_case(label, counts[label], count))
                for count, label in rare[:SHOWN]
            ),
            why="With so few, it cannot be learned."
            + (
                ""
                if field
                else " A specialist marks its answers for review that are, or may be, such a label."
            ),
            remedy=f"Bring more examples of them (at least {LEARNABLE} to learn from, better 20), or join "
            "them with a label like them.",
            details={"labels": [[label, count] for count, label in rare[:_LISTED]]},
        )


def _training_counts(check_input: CheckInput) -> Counter[str]:
    """How many examples of each label a run would learn from; of the data if they cannot be split."""
    try:
        train = check_input.split.train
    except UsageError:
        return check_input.label_counts
    return Counter(label for example in train for label in check_input.labels(example))


def _rare_case(label: str, examples: int, learned: int) -> str:
    apart = f", {learned:,} of them to learn from" if learned != examples else ""
    return f"{excerpt(label, 60)}: {some(examples, 'example')}{apart}"


def label_variants(check_input: CheckInput) -> Iterator[Finding]:
    """Labels that are two spellings of one."""
    for field, counts in _label_sets(check_input):
        pairs = _spellings(counts)
        if not pairs:
            continue
        noun, plural = _nouns(field)
        lines = _lines_of(check_input, [rare for rare, _, _ in pairs[:SHOWN]], field)
        yield Finding(
            kind=_kind("label_variants", field),
            level="warning",
            title=f"{some(len(pairs), f'{noun} looks', f'{plural} look')} like another spelling of a more "
            "frequent one.",
            count=len(pairs),
            cases=tuple(
                Case(
                    lines=tuple(lines[rare]),
                    text=f"{_visible(rare)} ({counts[rare]:,} ×) beside {_visible(often)} "
                    f"({counts[often]:,} ×): {how}",
                )
                for rare, often, how in pairs[:SHOWN]
            ),
            why="The model takes each spelling for an answer of its own: examples are split between them, "
            "and what is meant as the same counts as wrong.",
            remedy="Write each in one way in the source.",
            details={"pairs": [list(pair) for pair in pairs]},
        )


def _spellings(counts: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """The rarer of two spellings, the more frequent one, and how they differ; the most frequent first."""
    by_plain: dict[str, str] = {}
    variants = []
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        plain = folded(label).strip()
        often = by_plain.setdefault(" ".join(re.split(r"[\s_\-\u2010-\u2015]+", plain)), label)
        if often != label:
            variants.append((label, often, "only case, spaces, hyphens or umlauts differ"))
    slips: dict[str, str] = {}
    for often, rare in combinations(list(by_plain)[:_MOST_COMPARED], 2):
        few = counts[by_plain[rare]] <= SLIP * counts[by_plain[often]]
        if few and rare not in slips and often not in slips and _one_slip(often, rare):
            slips[rare] = often
    return variants + [
        (by_plain[rare], by_plain[often], "one letter differs") for rare, often in slips.items()
    ]


def _one_slip(first: str, second: str) -> bool:
    """Whether one letter was added, left out, mistaken or swapped with the next; figures are never slips."""
    shorter = min(len(first), len(second))
    if shorter < _SHORTEST or abs(len(first) - len(second)) > 1:
        return False
    if re.sub(r"\D", "", first) != re.sub(r"\D", "", second):
        return False
    same = next((at for at in range(shorter) if first[at] != second[at]), shorter)
    a, b = first[same:], second[same:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return a[1:] == b if len(a) > len(b) else a == b[1:]


def _visible(label: str) -> str:
    """The label with spaces at its ends and doubled ones made visible."""
    marked = re.sub(r"^ +| +$|(?<= ) +", lambda match: "␣" * len(match[0]), label)
    return f"“{marked[:60]}”"


# Lists of labels, written as one text


@dataclass(frozen=True)
class _LabelLists:
    """Answers taken apart."""

    separator: str
    parts: dict[str, tuple[str, ...]]
    """The labels of each answer, in its order."""

    @property
    def labels(self) -> list[str]:
        return sorted({label for labels in self.parts.values() for label in labels})

    @property
    def combined(self) -> list[str]:
        """The answers with several labels."""
        return [answer for answer, labels in self.parts.items() if len(labels) > 1]

    @property
    def sign(self) -> str:
        """The separator, as it is shown."""
        return self.separator.replace("\n", "\\n")

    def likely(self) -> bool:
        """Whether the parts are labels: most recur, and some stand alone or in more than one place."""
        labels, combined = self.labels, self.combined
        if len(combined) < 2 or max(map(len, labels)) > LONGEST_LABEL or len(labels) >= len(self.parts):
            return False
        uses = Counter(label for group in set(map(frozenset, self.parts.values())) for label in group)
        places: dict[str, set[int]] = {}
        for group in self.parts.values():
            for place, label in enumerate(group):
                places.setdefault(label, set()).add(place if len(group) > 1 else -1)
        inside = {label for answer in combined for label in self.parts[answer]}
        recurring = sum(uses[label] > 1 for label in inside)
        return any(len(places[label]) > 1 for label in inside) and recurring >= _RECURRING * len(inside)


def several_labels(check_input: CheckInput) -> Iterator[Finding]:
    """Answers, or values of a record's field, that are lists of labels written as one text."""
    label_sets = [] if check_input.multi else list(_label_sets(check_input))
    if check_input.task == "text" and len(check_input.answer_counts) <= _MOST_ANSWERS:
        label_sets = [("", check_input.answer_counts)]
    for field, counts in label_sets:
        for separator in _SEPARATORS:
            if any(separator in answer for answer in counts):
                lists = _LabelLists(separator, {answer: _parts(answer, separator) for answer in counts})
                if lists.likely():
                    yield _list_finding(check_input, lists, counts, field)
                    break


def _parts(answer: str, separator: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in answer.split(separator) if part.strip()))


def _list_finding(
    check_input: CheckInput, lists: _LabelLists, counts: Mapping[str, int], field: str
) -> Finding:
    by_labels: dict[frozenset[str], list[str]] = {}
    for answer, labels in lists.parts.items():
        by_labels.setdefault(frozenset(labels), []).append(answer)
    combined, same = lists.combined, [group for group in by_labels.values() if len(group) > 1]
    shown = (same or [[answer] for answer in combined])[:SHOWN]
    lines = _lines_of(check_input, [answer for group in shown for answer in group], field)
    holds = some(sum(counts[answer] for answer in combined), "answer holds", "answers hold")
    where = f" in {excerpt(field, 40)}" if field else ""
    in_order = f"; {some(len(same), 'differs', 'differ')} in order alone" if same else ""
    return Finding(
        kind=_kind("several_labels", field),
        level="warning",
        title=f"{holds} several labels{where}: {len(counts):,} combinations of {len(lists.labels):,} "
        f"labels, parted by “{lists.sign}”{in_order}.",
        count=len(same) or len(combined),
        cases=tuple(
            Case(
                lines=tuple(sorted(line for answer in group for line in lines[answer][:1])),
                text=" = ".join(f"{excerpt(answer, 60)} ({counts[answer]:,} ×)" for answer in group),
            )
            for group in shown
        ),
        why="Each combination counts as an answer of its own: one that stands in no example can never be "
        "given, and the same labels in another order count as wrong.",
        remedy=_list_remedy(check_input, lists, field),
        details={"separator": lists.separator, "labels": lists.labels},
    )


def _list_remedy(check_input: CheckInput, lists: _LabelLists, field: str) -> str:
    """The setting that makes lists of the texts; where a record is no matter of columns, how to write it."""
    answer = check_input.recipe.answer
    if isinstance(answer, str) and field:
        return f"Write lists in the records, always in one order: {json.dumps(lists.labels[:2])}."
    column = answer if isinstance(answer, str) else answer[field].column
    made = f'{_yaml_name(field or column)}: {{column: {_yaml_name(column)}, separator: "{lists.sign}"}}'
    if field:
        return f"Read them as a list: for this field set {made}. The labels are then in alphabetical order."
    return (
        f"Read each as a set of labels: --task labels --answer '{{{made}}}' (in a recipe, task: labels and "
        f"answer: {{{made}}}). Each label is then decided on its own, and their order says nothing."
    )


def _yaml_name(name: str) -> str:
    """A name as YAML reads it; quoted where it could be anything else."""
    plain = re.fullmatch(r"[^\W\d]\w{3,}", name) and name.lower() not in ("true", "false", "null")
    return name if plain else json.dumps(name, ensure_ascii=False)
