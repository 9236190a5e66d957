"""Answers that are likely wrong: those that examples like theirs speak against.

Confident learning (Northcutt, Jiang and Chuang 2021): a simple classifier learns the labels from frozen
features and is asked about examples that it has not learned from. How many labels are wrong follows from how
often it is surer of another label than it usually is where that label is given; which ones, from how many
times likelier the other label is: on swapped labels that order did much better than the difference of the
probabilities (docs/log.md). Knows texts and labels; models come in as functions. Does not know who is right:
a rare case looks like a wrong one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from azubi.data.checks.check_input import CheckInput, Features
from azubi.data.contract import parse_record
from azubi.data.example import Example
from azubi.data.finding import SHOWN, Case, Finding
from azubi.data.rules.formulas import Columns

Numbers = npt.NDArray[np.float64]

FOLDS = 5
FEWEST = 6
"""Examples of a label, below which nothing can be said about it."""
FEWEST_EXAMPLES = 50
MOST, MOST_CHARACTERS = 30_000, 10_000_000
"""More examples, or more characters of prompts, are not looked at; so many are taken, evenly from all."""
MOST_FIELDS = 20
"""Fields of records that are looked at."""
BLIND = 0.2
"""Share of suspects from which on it is the classifier that cannot tell: a team that depends on an amount
does not show in what a text is about, say. Such a field is not judged."""
LISTED = 500
"""Suspects that a finding carries for programs."""
_SMALLEST = 1e-9
"""Probabilities below it count as this one."""
_STRENGTH = 10.0
"""Inverse strength of the classifier's regularisation, for features of length 1."""


@dataclass(frozen=True, slots=True)
class LabelError:
    """An example whose label is likely wrong."""

    place: int
    """Of the example, from 0."""
    given: str
    suggested: str
    odds: float
    """How many times likelier the suggested label is than the given one."""


def spelling_features(texts: Sequence[str], size: int = 200) -> Any:
    """Features that need no model: words weighed by rarity, and reduced to `size` directions (LSA)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), max_features=50_000, min_df=2)
    try:
        words = vectorizer.fit_transform(texts)
    except ValueError:  # no word occurs twice: nothing to compare by
        return np.zeros((len(texts), 1))
    if words.shape[1] <= size:
        return words.toarray()
    return normalize(TruncatedSVD(size, random_state=0).fit_transform(words))


def likely_wrong_answers(check_input: CheckInput) -> Iterator[Finding]:
    """Labels, and fields of records, that a simple classifier is sure are others."""
    if check_input.task != "text":
        yield from label_error_findings(check_input.data, check_input.features or spelling_features)


def label_error_findings(
    examples: Sequence[Example], features: Features = spelling_features
) -> Iterator[Finding]:
    """Likely wrong labels; for records, likely wrong values of every field that looks like a label."""
    characters = sum(len(example.prompt) for example in examples)
    examples = examples[:: max(1, -(-len(examples) // MOST), -(-characters // MOST_CHARACTERS))]
    tasks = _labelled(examples) if len(examples) >= FEWEST_EXAMPLES else {}
    if not tasks:
        return
    prompts = [example.prompt for example in examples]
    matrix = features(prompts)
    for field, (places, labels) in tasks.items():
        errors = _find(matrix[places], [prompts[place] for place in places], labels)
        if errors and len(errors) <= BLIND * len(places):
            yield _finding(field, errors, [examples[place] for place in places])


def find_label_errors(texts: Sequence[str], labels: Sequence[str], features: Features) -> list[LabelError]:
    """The examples whose label is likely wrong, the surest first. `features` is asked once."""
    return _find(features(texts), texts, labels)


def _labelled(examples: Sequence[Example]) -> Mapping[str, tuple[list[int], list[str]]]:
    """What looks like labels: places and labels by field; the answers themselves under an empty name."""
    records = [parse_record(example.answer) for example in examples]
    places = [place for place, record in enumerate(records) if record is not None]
    if len(places) > len(examples) / 2:
        columns = Columns([record for record in records if record is not None])
        fields = {}
        for name, codes in list(columns.categories.items())[:MOST_FIELDS]:
            known = np.flatnonzero(codes.ids >= 0)
            fields[name] = ([places[at] for at in known], [str(codes.values[codes.ids[at]]) for at in known])
        return fields
    answers = [example.answer for example in examples]
    short = all(len(answer) <= 80 and "\n" not in answer for answer in answers)
    if short and len(set(answers)) * 3 <= len(answers):
        return {"": (list(range(len(examples))), answers)}
    return {}


def _find(matrix: Any, texts: Sequence[str], labels: Sequence[str]) -> list[LabelError]:
    names, ids = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
    kept = np.flatnonzero(np.bincount(ids, minlength=len(names))[ids] >= FEWEST)
    kept_ids, own = np.unique(ids[kept], return_inverse=True)
    if len(kept_ids) < 2:
        return []
    names = names[kept_ids]
    chances = _out_of_fold(np.asarray(matrix)[kept], own, [texts[int(place)] for place in kept])
    every = np.arange(len(kept))
    given = chances[every, own]
    # How sure the classifier usually is of a label where it is the given one.
    usual = np.bincount(own, weights=given) / np.bincount(own)
    confident = np.where(chances >= usual, chances, -1.0)
    best = confident.argmax(axis=1)
    wrong = int(((confident[every, best] >= 0) & (best != own)).sum())
    others = chances.copy()
    others[every, own] = 0.0
    suggested = others.argmax(axis=1)
    odds = others[every, suggested] / np.maximum(given, _SMALLEST)
    ranked = sorted(np.flatnonzero(odds > 1), key=lambda at: (-odds[at], at))
    return [
        LabelError(int(kept[at]), str(names[own[at]]), str(names[suggested[at]]), float(odds[at]))
        for at in ranked[:wrong]
    ]


def _out_of_fold(matrix: Numbers, ids: npt.NDArray[np.int64], texts: Sequence[str]) -> Numbers:
    """Probabilities of each label, from classifiers that have not learned from the example."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    folds = _folds(ids, texts)
    chances = np.zeros((len(ids), int(ids.max()) + 1))
    for fold in np.unique(folds):
        unseen = folds == fold
        # The gradient's entries shrink as labels become more: a fixed tolerance ends where it begins.
        model = LogisticRegression(C=_STRENGTH, max_iter=200, tol=min(1e-3, 0.01 / chances.shape[1]))
        # The products are small: several threads would wait for each other most of the time.
        with threadpool_limits(1):
            model.fit(matrix[~unseen], ids[~unseen])
        chances[np.ix_(unseen, model.classes_)] = model.predict_proba(matrix[unseen])
    return chances


def _folds(ids: npt.NDArray[np.int64], texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Each label dealt out evenly over the folds, the same way every time, equal texts together."""
    keys = [blake2b(text.encode(errors="replace"), digest_size=8).digest() for text in texts]
    folds = np.zeros(len(ids), dtype=np.int64)
    fold_of_text: dict[bytes, int] = {}
    next_fold: dict[int, int] = {}
    for at in sorted(range(len(ids)), key=lambda at: keys[at]):
        label = int(ids[at])
        if keys[at] not in fold_of_text:
            fold = next_fold.get(label, label)
            fold_of_text[keys[at]], next_fold[label] = fold % FOLDS, fold + 1
        folds[at] = fold_of_text[keys[at]]
    return folds


def _finding(field: str, errors: Sequence[LabelError], examples: Sequence[Example]) -> Finding:
    suspects = [
        {
            "line": examples[error.place].line,
            "given": error.given,
            "suggested": error.suggested,
            "odds": round(error.odds, 1),
        }
        for error in errors[:LISTED]
    ]
    return Finding(
        kind="likely_wrong",
        level="warning",
        title=f"{len(errors):,} of {len(examples):,} {f'values of {field}' if field else 'labels'} are "
        "likely wrong; the surest come first.",
        count=len(errors),
        cases=tuple(_case(error, examples[error.place]) for error in errors[:SHOWN]),
        why="A model learns wrong answers as well as right ones, and is measured by them.",
        remedy="Look at the first of them and correct what is wrong; rare cases may look wrong and be right.",
        details={"field": field, "suspects": suspects},
    )


def _case(error: LabelError, example: Example) -> Case:
    odds = error.odds
    times = f"{odds:.1f}" if odds < 10 else f"{odds:,.0f}" if odds < 1_000 else "over 1,000"
    line = " ".join(example.prompt.split())
    return Case(
        lines=(example.line,),
        text=f"{error.given}, but examples like it say {error.suggested} ({times} times likelier): "
        f"{line if len(line) <= 80 else line[:79] + '…'}",
    )
