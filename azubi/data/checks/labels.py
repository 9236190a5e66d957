"""Labels: how many of each, which are rare, which are two spellings of one, and which are lists of labels.

Does not know what a label means, nor whether it was given rightly.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from azubi.data.checks.check_input import CheckInput, as_record
from azubi.data.contract import FEWEST_REPEATS, LONGEST_LABEL, MOST_LABELS
from azubi.data.finding import SHOWN, Case, Finding, excerpt, share, some

FEWEST = 5
"""Examples that a label needs at least."""
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


def label_counts(check_input: CheckInput) -> Iterator[Finding]:
    """How many examples each label has."""
    if check_input.kind != "labels":
        return
    counts = check_input.tally.answers.most_common()
    if not counts:
        return
    total = check_input.tally.examples
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


def rare_labels(check_input: CheckInput) -> Iterator[Finding]:
    """Labels (or values of a record's closed field) with fewer than five examples; no misspelt ones."""
    if check_input.kind == "labels":
        yield from _rare(check_input, check_input.tally.answers)
    elif check_input.kind == "json":
        for field, counts in closed_fields(check_input).items():
            yield from _rare(check_input, counts, field)


def _rare(check_input: CheckInput, counts: Mapping[str, int], field: str = "") -> Iterator[Finding]:
    misspelt = {name for name, _, _ in _spellings(counts)}
    rare = {name: count for name, count in counts.items() if count < FEWEST and name not in misspelt}
    if not rare:
        return
    shown = sorted(rare, key=lambda name: (rare[name], name))[:SHOWN]
    lines = lines_of(check_input, shown, field)
    what = f"value of {excerpt(field, 40)}" if field else "label"
    many = f"values of {excerpt(field, 40)}" if field else "labels"
    yield Finding(
        kind=f"rare_labels:{field}" if field else "rare_labels",
        level="warning",
        title=f"{some(len(rare), f'{what} has', f'{many} have')} fewer than {FEWEST} examples.",
        count=len(rare),
        cases=tuple(
            Case(lines=tuple(lines[name]), text=f"{excerpt(name, 60)}: {some(rare[name], 'example')}")
            for name in shown
        ),
        why="With so few, hardly any is left to learn from once some are put aside for the test; with one, "
        "the label cannot be learned and tested both.",
        remedy=f"Bring more examples of them (at least {FEWEST}, better 20), or join them with a label like "
        "them.",
        details={
            "labels": [
                list(pair) for pair in sorted(rare.items(), key=lambda pair: (pair[1], pair[0]))[:_LISTED]
            ]
        },
    )


def label_imbalance(check_input: CheckInput) -> Iterator[Finding]:
    """One label that outweighs all others."""
    counts = check_input.tally.answers.most_common()
    if check_input.kind != "labels" or len(counts) < 2:
        return
    total = check_input.tally.examples
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


def label_variants(check_input: CheckInput) -> Iterator[Finding]:
    """Labels, or values of a record's field, that are two spellings of one."""
    if check_input.kind == "labels":
        yield from _variants(check_input, check_input.tally.answers, "")
    elif check_input.kind == "json":
        for name, counts in closed_fields(check_input).items():
            yield from _variants(check_input, counts, name)


def _variants(check_input: CheckInput, counts: Mapping[str, int], field: str) -> Iterator[Finding]:
    pairs = _spellings(counts)
    if not pairs:
        return
    what = f"value of {excerpt(field, 40)}" if field else "label"
    many = f"values of {excerpt(field, 40)}" if field else "labels"
    lines = lines_of(check_input, [rare for rare, _, _ in pairs[:SHOWN]], field)
    yield Finding(
        kind=f"label_variants:{field}" if field else "label_variants",
        level="warning",
        title=f"{some(len(pairs), what + ' looks', many + ' look')} like another spelling of a more "
        "frequent one.",
        count=len(pairs),
        cases=tuple(
            Case(
                lines=tuple(lines[rare]),
                text=f"{_visible(rare)} ({counts[rare]:,} ×) beside {_visible(often)} ({counts[often]:,} "
                f"×): {how}",
            )
            for rare, often, how in pairs[:SHOWN]
        ),
        why="The model takes each spelling for an answer of its own: examples are split between them, and "
        "what is meant as the same counts as wrong.",
        remedy="Write each in one way in the source.",
        details={"pairs": [[rare, often, how] for rare, often, how in pairs]},
    )


def _spellings(counts: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """The rarer of two spellings, the more frequent one, and how they differ; the most frequent first."""
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    seen: dict[str, str] = {}
    variants = []
    for name in ranked:
        plain = _plain(name)
        if plain in seen:
            variants.append((name, seen[plain], "only case, spaces or hyphens differ"))
        else:
            seen[plain] = name
    plains = list(seen)[:_MOST_COMPARED]
    slips: dict[str, str] = {}
    for often, rare in combinations(plains, 2):
        few = counts[seen[rare]] <= SLIP * counts[seen[often]]
        if few and rare not in slips and often not in slips and _one_slip(often, rare):
            slips[rare] = often
    return variants + [(seen[rare], seen[often], "one letter differs") for rare, often in slips.items()]


def _plain(label: str) -> str:
    folded = unicodedata.normalize("NFKC", label).casefold()
    return " ".join(re.split(r"[\s_\-\u2010-\u2015]+", folded.strip()))


def _one_slip(first: str, second: str) -> bool:
    """Whether one letter was added, left out, mistaken or swapped with the next; figures are never slips."""
    if min(len(first), len(second)) < _SHORTEST or abs(len(first) - len(second)) > 1:
        return False
    if re.sub(r"\D", "", first) != re.sub(r"\D", "", second):
        return False
    begin = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )
    a, b = first[begin:], second[begin:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return a[1:] == b if len(a) > len(b) else a == b[1:]


def _visible(label: str) -> str:
    """The label with spaces at its ends and doubled ones made visible."""
    marked = re.sub(r"^ +| +$|(?<= ) +", lambda match: "␣" * len(match[0]), label)
    return f"“{marked[:60]}”"


def closed_fields(check_input: CheckInput) -> dict[str, Counter[str]]:
    """The record's fields that have labels as values, and how often each occurs."""
    counts: dict[str, Counter[str]] = {}
    open_fields: set[str] = set()
    for example in check_input.examples():
        for name, value in (as_record(example.answer) or {}).items():
            if not isinstance(value, str) or name in open_fields:
                continue
            known = counts.setdefault(name, Counter())
            known[value] += 1
            if len(known) > MOST_LABELS or len(value) > LONGEST_LABEL:
                open_fields.add(name)
                del counts[name]
    return {name: known for name, known in counts.items() if len(known) * FEWEST_REPEATS <= known.total()}


def lines_of(check_input: CheckInput, labels: Collection[str], field: str = "") -> dict[str, list[int]]:
    """The first lines at which each of some labels stands."""
    lines: dict[str, list[int]] = {label: [] for label in labels}
    for example in check_input.examples():
        value = (as_record(example.answer) or {}).get(field) if field else example.answer
        if isinstance(value, str) and value in lines and len(lines[value]) < SHOWN:
            lines[value].append(example.line)
    return lines


_SEPARATORS = (";", "|", ",", "/", "+", "&", "\n")
_RECURRING = 0.8
"""Share of the parts that stand in more than one combination, if the parts are labels."""


@dataclass(frozen=True)
class LabelLists:
    """Answers taken apart."""

    separator: str
    parts: dict[str, tuple[str, ...]]
    """The labels of each answer, in its order."""

    @property
    def labels(self) -> frozenset[str]:
        """All labels."""
        return frozenset(label for parts in self.parts.values() for label in parts)

    @property
    def combined(self) -> list[str]:
        """The answers with several labels."""
        return [answer for answer, parts in self.parts.items() if len(parts) > 1]

    @property
    def same(self) -> list[list[str]]:
        """Answers that differ in the order of their labels alone, together."""
        groups: dict[frozenset[str], list[str]] = {}
        for answer, parts in self.parts.items():
            groups.setdefault(frozenset(parts), []).append(answer)
        return [group for group in groups.values() if len(group) > 1]

    @property
    def likely(self) -> bool:
        """Whether the parts are labels: most recur, and some stand alone or in more than one place."""
        if len(self.combined) < 2 or max(map(len, self.labels)) > LONGEST_LABEL:
            return False
        sets = {frozenset(parts) for parts in self.parts.values()}
        uses = Counter(label for labels in sets for label in labels)
        inside = {label for answer in self.combined for label in self.parts[answer]}
        places: dict[str, set[int]] = {}
        for parts in self.parts.values():
            for place, label in enumerate(parts):
                places.setdefault(label, set()).add(place if len(parts) > 1 else -1)
        recurring = sum(uses[label] > 1 for label in inside)
        moving = any(len(places[label]) > 1 for label in inside)
        return moving and recurring >= _RECURRING * len(inside) and len(self.labels) < len(self.parts)


def several_labels(check_input: CheckInput) -> Iterator[Finding]:
    """Answers, or values of a record's field, that are lists of labels written as one text."""
    if check_input.kind == "json":
        for name, counts in closed_fields(check_input).items():
            if parted := _split_labels(counts):
                yield _list_finding(check_input, parted, counts, name)
    elif parted := _split_labels(check_input.tally.answers):
        yield _list_finding(check_input, parted, check_input.tally.answers)


def _split_labels(counts: Mapping[str, int]) -> LabelLists | None:
    for separator in _SEPARATORS:
        if any(separator in answer for answer in counts):
            lists = LabelLists(separator, {answer: _parts(answer, separator) for answer in counts})
            if lists.likely:
                return lists
    return None


def _parts(answer: str, separator: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for each in answer.split(separator) if (part := each.strip())))


def _list_finding(
    check_input: CheckInput, parted: LabelLists, counts: Mapping[str, int], field: str = ""
) -> Finding:
    combined, same = parted.combined, parted.same
    shown = (same or [[answer] for answer in combined])[:SHOWN]
    lines = lines_of(check_input, [answer for group in shown for answer in group], field)
    holds = some(sum(counts[answer] for answer in combined), "answer holds", "answers hold")
    where = f" in {excerpt(field, 40)}" if field else ""
    alike = f"; {some(len(same), 'differs', 'differ')} in order alone" if same else ""
    return Finding(
        kind=f"several_labels:{field}" if field else "several_labels",
        level="warning",
        title=f"{holds} several labels{where}: {len(counts):,} combinations of {len(parted.labels):,} "
        f"labels, parted by “{_shown_separator(parted.separator)}”{alike}.",
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
        remedy=_list_remedy(check_input, parted, field),
        details={"separator": parted.separator, "labels": sorted(parted.labels)},
    )


def _list_remedy(check_input: CheckInput, parted: LabelLists, field: str) -> str:
    """The setting that makes lists of the texts; where a record is no matter of columns, how to write it."""
    answer = check_input.answer
    if isinstance(answer, str) and field:
        return f"Write lists in the records, always in one order: {json.dumps(sorted(parted.labels)[:2])}."
    column = answer if isinstance(answer, str) else answer[field].column
    sign = _shown_separator(parted.separator)
    made = f'{_yaml_name(field or column)}: {{column: {_yaml_name(column)}, separator: "{sign}"}}'
    setting = (
        f"for this field set {made}."
        if field
        else f"--answer '{{{made}}}' (in a recipe, answer: {{{made}}})."
    )
    return f"Read them as a list: {setting} The labels are then in alphabetical order, each once."


def _yaml_name(name: str) -> str:
    """A name as YAML reads it; quoted where it could be anything else."""
    plain = re.fullmatch(r"[^\W\d]\w{3,}", name) and name.lower() not in ("true", "false", "null")
    return name if plain else json.dumps(name, ensure_ascii=False)


def _shown_separator(separator: str) -> str:
    return separator.replace("\n", "\\n")
