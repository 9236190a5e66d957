"""What the answers are worth: scores of answers against the truth, by the form of the answers.

    labels   accuracy, level:<name> for every level if labels have levels, macro_f1
             within_one, weighted_kappa if labels have an order
    sets     exact_set, micro_f1, macro_f1: where an answer is a set of labels
    json     record_exact, parsable, field:<name> for every field of the contract
    text     chrf, exact

The first of them is the main metric. Intervals are explained in `azubi.evaluation.statistics`.
chrF is the mean over examples of sacrebleu's sentence chrF2, so that every example counts alike and
examples can be resampled; sacrebleu's figure for a whole corpus weighs long answers more, and differs.

Knows nothing of models, and not whether an answer is *useful*: an answer that says the same in other
words counts as wrong for labels and records.

Macro-F1 equals scikit-learn's `f1_score(average="macro")` over the labels that occur; it is computed from
confusion counts, so that 2,000 resamples cost one matrix product.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from azubi.data.contract import Contract, Task
from azubi.data.strict_json import same
from azubi.errors import DataError
from azubi.evaluation.statistics import Difference, Floats, mean_interval, percentiles, resample
from azubi.events.figures import Score

_MAIN: Mapping[Task, str] = {"labels": "accuracy", "json": "record_exact", "text": "chrf"}
_ABSENT = object()

Record = dict[str, object]


def main(contract: Contract) -> str:
    """The main metric of answers of this form."""
    return "exact_set" if contract.multi else _MAIN[contract.task]


def measure(contract: Contract, answers: Sequence[str], truths: Sequence[str]) -> tuple[Score, ...]:
    """Score answers against the truth; the main metric stands first."""
    values = per_example(contract, answers, truths)
    scores = [mean_score(name, column) for name, column in values.items()]
    if contract.multi:
        scores += set_f1(contract, answers, truths)
    elif contract.task == "labels":
        scores.append(macro_f1(_stripped(answers), _stripped(truths), _stripped(contract.labels)))
        if contract.order:
            scores.append(weighted_kappa(contract.order, _stripped(answers), _stripped(truths)))
    return tuple(scores)


def per_example(contract: Contract, answers: Sequence[str], truths: Sequence[str]) -> dict[str, Floats]:
    """Give every metric that is a mean over examples, example by example; the main metric first."""
    if not truths:
        raise DataError(
            "There are no test examples to measure on.", "Bring more data or a larger test share."
        )
    if len(answers) != len(truths):
        raise ValueError(f"{len(answers)} answers, but {len(truths)} truths")
    if contract.task == "json":
        return _records(contract, answers, truths)
    pairs = list(zip(_stripped(answers), _stripped(truths), strict=True))
    if contract.multi:
        return {"exact_set": _shares(right(contract, answer, truth) for answer, truth in pairs)}
    equal = _shares(answer == truth for answer, truth in pairs)
    if contract.task == "labels":
        return {"accuracy": equal, **_levels(contract, pairs), **_order(contract, pairs)}
    return {"chrf": _chrf(pairs), "exact": equal}


def right(contract: Contract, answer: str, truth: str) -> bool:
    """Whether the whole answer is right: the label, the record, or the text to the letter."""
    if contract.task == "json":
        said, true = contract.parse(answer), contract.parse(truth)
        return said is not None and true is not None and same(said, true)
    if contract.multi:
        return contract.label_set(answer) == contract.label_set(truth)
    return answer.strip() == truth.strip()


def same_field(answer: Record | None, truth: Record | None, name: str) -> bool:
    """Whether a field is right: the same value, or left out by both. No record, nothing right."""
    if answer is None or truth is None:
        return False
    return same(answer.get(name, _ABSENT), truth.get(name, _ABSENT))


def paired_difference(
    contract: Contract, base: Sequence[str], specialist: Sequence[str], truths: Sequence[str]
) -> Difference:
    """Measure by how much the specialist's main metric exceeds the base's, example by example."""
    name, theirs = next(iter(per_example(contract, base, truths).items()))
    gains = per_example(contract, specialist, truths)[name] - theirs
    low, high = mean_interval(gains, lowest=-1.0)
    return Difference(name=name, value=float(gains.mean()), low=low, high=high, n=gains.size)


def mean_score(name: str, values: Floats) -> Score:
    """The mean of per-example values between 0 and 1, with its 95 % interval."""
    low, high = mean_interval(values)
    return Score(name=name, value=float(values.mean()), low=low, high=high, n=values.size)


def _records(contract: Contract, answers: Sequence[str], truths: Sequence[str]) -> dict[str, Floats]:
    pairs = [(contract.parse(a), contract.parse(t)) for a, t in zip(answers, truths, strict=True)]
    exact = _shares(a is not None and t is not None and same(a, t) for a, t in pairs)
    fields = {f"field:{name}": _shares(same_field(a, t, name) for a, t in pairs) for name in contract.fields}
    return {"record_exact": exact, "parsable": _shares(a is not None for a, _ in pairs), **fields}


def _levels(contract: Contract, pairs: Sequence[tuple[str, str]]) -> dict[str, Floats]:
    """For each level whether its own part of the label is right, whatever the others are."""
    paths = [(contract.path(answer), contract.path(truth)) for answer, truth in pairs]
    return {
        f"level:{name}": _shares(
            answer[depth : depth + 1] == truth[depth : depth + 1] for answer, truth in paths
        )
        for depth, name in enumerate(contract.levels)
    }


def _order(contract: Contract, pairs: Sequence[tuple[str, str]]) -> dict[str, Floats]:
    """Whether a label is right or the next one to it, where labels have an order."""
    if not contract.order:
        return {}
    distances = [contract.distance(answer, truth) for answer, truth in pairs]
    return {"within_one": _shares(distance is not None and distance <= 1 for distance in distances)}


def _chrf(pairs: Iterable[tuple[str, str]]) -> Floats:
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF()
    return np.array([1.0 if a == t else chrf.sentence_score(a, [t]).score / 100 for a, t in pairs])


def _stripped(texts: Iterable[str]) -> list[str]:
    return [text.strip() for text in texts]


def _shares(outcomes: Iterable[bool]) -> Floats:
    return np.fromiter(outcomes, dtype=np.float64)


def macro_f1(answers: Sequence[str], truths: Sequence[str], labels: Collection[str]) -> Score:
    """Score answers over the labels that occur in truths or answers.

    An answer that is no label counts as a miss of the true one, and adds no label of its own.
    A resample in which a label does not occur takes the mean over those that do. With about one
    example a label that bends the resamples to one side; the interval is stretched to hold the value.
    """
    known = sorted(set(truths) | (set(answers) & set(labels)))
    cells = Counter(zip(truths, answers, strict=True))
    counts = np.array(list(cells.values()), dtype=np.int64)
    true = _indicator([truth for truth, _ in cells], known)
    said = _indicator([answer for _, answer in cells], known)

    def mean_f1(drawn: Floats) -> Floats:
        occurrences = drawn @ (true + said)
        f1 = np.divide(2 * (drawn @ (true * said)), occurrences, where=occurrences > 0, out=occurrences * 0)
        means: Floats = f1.sum(axis=1) / (occurrences > 0).sum(axis=1)
        return means

    value = float(mean_f1(counts[None].astype(np.float64))[0])
    low, high = percentiles(resample(counts, mean_f1), len(truths))
    return Score(name="macro_f1", value=value, low=min(low, value), high=max(high, value), n=len(truths))


def weighted_kappa(order: Sequence[str], answers: Sequence[str], truths: Sequence[str]) -> Score:
    """Agreement beyond chance that counts a mistake by the square of its steps in the order.

    Cohen's kappa with quadratic weights (Psychological Bulletin 70, 1968): 1 if all is right, 0 for what
    chance would reach with the same counts, below 0 for less. An answer that is no label lies as far off as
    can be.
    """
    cells = Counter(zip(truths, answers, strict=True))
    counts = np.array(list(cells.values()), dtype=np.int64)
    steps = np.subtract.outer(np.arange(len(order) + 1), np.arange(len(order) + 1)) ** 2.0
    steps[:, -1] = [max(place, len(order) - 1 - place) ** 2 for place in range(len(order) + 1)]
    true, said = _indicator([truth for truth, _ in cells], order), _indicator([s for _, s in cells], order)
    true, said = (np.c_[table, 1 - table.sum(axis=1)] for table in (true, said))
    costs = (true @ steps * said).sum(axis=1)

    def kappa(drawn: Floats) -> Floats:
        by_chance = ((drawn @ true) @ steps * (drawn @ said)).sum(axis=1) / drawn.sum(axis=1)
        costly = np.divide(drawn @ costs, by_chance, where=by_chance > 0, out=np.zeros(len(drawn)))
        agreement: Floats = 1 - costly
        return agreement

    value = float(kappa(counts[None].astype(np.float64))[0])
    low, high = percentiles(resample(counts, kappa), len(truths), lowest=-1.0)
    return Score(
        name="weighted_kappa", value=value, low=min(low, value), high=max(high, value), n=len(truths)
    )


def set_f1(contract: Contract, answers: Sequence[str], truths: Sequence[str]) -> tuple[Score, Score]:
    """Micro and macro F1 of sets of labels, as scikit-learn's `f1_score`; macro over the labels that occur.

    An answer that is no list misses all true labels. Intervals are those of `macro_f1`.
    """
    cells = Counter(zip(truths, answers, strict=True))
    counts = np.array(list(cells.values()), dtype=np.int64)
    sets = [[contract.label_set(text) or frozenset() for text in cell] for cell in cells]
    known = sorted({label for true, _ in sets for label in true} | set(contract.labels))
    true, said = (np.array([[label in cell[n] for label in known] for cell in sets], float) for n in (0, 1))

    def shares(drawn: Floats) -> tuple[Floats, Floats]:
        """Twice the hits, and what they are divided by: [resamples, labels] each."""
        return 2 * (drawn @ (true * said)), drawn @ (true + said)

    def micro(drawn: Floats) -> Floats:
        hits, there = (part.sum(axis=1) for part in shares(drawn))
        f1: Floats = np.divide(hits, there, where=there > 0, out=np.ones_like(there))
        return f1

    def macro(drawn: Floats) -> Floats:
        hits, there = shares(drawn)
        f1 = np.divide(hits, there, where=there > 0, out=np.zeros_like(there))
        means: Floats = f1.sum(axis=1) / np.maximum(1, (there > 0).sum(axis=1))
        return means

    def score(name: str, of: Callable[[Floats], Floats]) -> Score:
        value = float(of(counts[None].astype(np.float64))[0])
        low, high = percentiles(resample(counts, of), len(truths))
        return Score(name=name, value=value, low=min(low, value), high=max(high, value), n=len(truths))

    return score("micro_f1", micro), score("macro_f1", macro)


def _indicator(names: Sequence[str], labels: Sequence[str]) -> Floats:
    """One row per name, one column per label: 1 where they are the same."""
    column = {label: position for position, label in enumerate(labels)}
    table = np.zeros((len(names), len(labels)))
    for row, name in enumerate(names):
        if name in column:
            table[row, column[name]] = 1
    return table
