"""Labels: how many of each, which are rare, and which are two spellings of one.

Does not know what a label means, nor whether it was given rightly.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import combinations

from azubi.data.checks.check_input import CheckInput, as_record
from azubi.data.checks.formatting import excerpt, share, some
from azubi.data.contract import FEWEST_REPEATS, LONGEST_LABEL, MOST_LABELS
from azubi.data.finding import SHOWN, Case, Finding

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


def label_counts(subject: CheckInput) -> Iterator[Finding]:
    """How many examples each label has."""
    if subject.kind != "labels":
        return
    counts = subject.tally.answers.most_common()
    if not counts:
        return
    total = subject.tally.examples
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
        details={"labels": [list(one) for one in counts[:_LISTED]], "examples": total},
    )


def rare_labels(subject: CheckInput) -> Iterator[Finding]:
    """Labels (or values of a record's closed field) with fewer than five examples; no misspelt ones."""
    if subject.kind == "labels":
        yield from _rare(subject, subject.tally.answers)
    elif subject.kind == "json":
        for field, counts in closed_fields(subject).items():
            yield from _rare(subject, counts, field)


def _rare(subject: CheckInput, counts: Mapping[str, int], field: str = "") -> Iterator[Finding]:
    misspelt = {name for name, _, _ in _spellings(counts)}
    rare = {name: count for name, count in counts.items() if count < FEWEST and name not in misspelt}
    if not rare:
        return
    shown = sorted(rare, key=lambda name: (rare[name], name))[:SHOWN]
    lines = lines_of(subject, shown, field)
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
            "labels": [list(one) for one in sorted(rare.items(), key=lambda one: (one[1], one[0]))[:_LISTED]]
        },
    )


def label_imbalance(subject: CheckInput) -> Iterator[Finding]:
    """One label that outweighs all others."""
    counts = subject.tally.answers.most_common()
    if subject.kind != "labels" or len(counts) < 2:
        return
    total = subject.tally.examples
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


def label_variants(subject: CheckInput) -> Iterator[Finding]:
    """Labels, or values of a record's field, that are two spellings of one."""
    if subject.kind == "labels":
        yield from _variants(subject, subject.tally.answers, "")
    elif subject.kind == "json":
        for name, counts in closed_fields(subject).items():
            yield from _variants(subject, counts, name)


def _variants(subject: CheckInput, counts: Mapping[str, int], field: str) -> Iterator[Finding]:
    pairs = _spellings(counts)
    if not pairs:
        return
    what = f"value of {excerpt(field, 40)}" if field else "label"
    many = f"values of {excerpt(field, 40)}" if field else "labels"
    lines = lines_of(subject, [rare for rare, _, _ in pairs[:SHOWN]], field)
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
    found = []
    for name in ranked:
        plain = _plain(name)
        if plain in seen:
            found.append((name, seen[plain], "only case, spaces or hyphens differ"))
        else:
            seen[plain] = name
    plains = list(seen)[:_MOST_COMPARED]
    slips: dict[str, str] = {}
    for often, rare in combinations(plains, 2):
        few = counts[seen[rare]] <= SLIP * counts[seen[often]]
        if few and rare not in slips and often not in slips and _one_slip(often, rare):
            slips[rare] = often
    return found + [(seen[rare], seen[often], "one letter differs") for rare, often in slips.items()]


def _plain(label: str) -> str:
    folded = unicodedata.normalize("NFKC", label).casefold()
    return " ".join(re.split(r"[\s_\-\u2010-\u2015]+", folded.strip()))


def _one_slip(one: str, other: str) -> bool:
    """Whether one letter was added, left out, mistaken or swapped with the next; figures are never slips."""
    if min(len(one), len(other)) < _SHORTEST or abs(len(one) - len(other)) > 1:
        return False
    if re.sub(r"\D", "", one) != re.sub(r"\D", "", other):
        return False
    begin = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    a, b = one[begin:], other[begin:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return a[1:] == b if len(a) > len(b) else a == b[1:]


def _visible(label: str) -> str:
    """The label with spaces at its ends and doubled ones made visible."""
    marked = re.sub(r"^ +| +$|(?<= ) +", lambda found: "␣" * len(found[0]), label)
    return f"“{marked[:60]}”"


def closed_fields(subject: CheckInput) -> dict[str, Counter[str]]:
    """The record's fields that have labels as values, and how often each occurs."""
    counts: dict[str, Counter[str]] = {}
    open_fields: set[str] = set()
    for example in subject.examples():
        for name, value in (as_record(example.answer) or {}).items():
            if not isinstance(value, str) or name in open_fields:
                continue
            known = counts.setdefault(name, Counter())
            known[value] += 1
            if len(known) > MOST_LABELS or len(value) > LONGEST_LABEL:
                open_fields.add(name)
                del counts[name]
    return {name: known for name, known in counts.items() if len(known) * FEWEST_REPEATS <= known.total()}


def lines_of(subject: CheckInput, labels: Collection[str], field: str = "") -> dict[str, list[int]]:
    """The first lines at which each of some labels stands."""
    found: dict[str, list[int]] = {label: [] for label in labels}
    for example in subject.examples():
        told = (as_record(example.answer) or {}).get(field) if field else example.answer
        if isinstance(told, str) and told in found and len(found[told]) < SHOWN:
            found[told].append(example.line)
    return found
