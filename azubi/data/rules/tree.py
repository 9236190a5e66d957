"""Finds a field that a shallow decision tree over the others gives.

For what is neither a formula nor thresholds over one number, such as two numbers at once, an item of a list,
or a field that is null. Knows nothing of how well a rule does on records that it was not made from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from azubi.data.rules.columns import NOTHING, Codes, Columns, Ids, Numbers
from azubi.data.rules.formula import literal, read
from azubi.data.rules.formulas import ERROR, LIMIT, STEP, RuleCandidate, cheapest
from azubi.data.rules.thresholds import shortest

_DEEPEST = 4
_FEWEST = 5
"""Records behind a leaf; one in a hundred of them if that is more."""
_MOST_FEATURES = 300


@dataclass(frozen=True)
class _Feature:
    """A question about a record whose answer is a number, and how CEL asks it."""

    field: str
    values: Numbers
    condition: str = ""
    """When the answer is yes; empty for a number, which is compared with a threshold."""


def fit_tree(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest tree of at most four levels."""
    from sklearn.tree import DecisionTreeClassifier

    classes = columns.classes(target)
    if classes is None:
        return None
    features = list(islice(_features(columns, inputs), _MOST_FEATURES))
    rows = rows[classes.ids[rows] != NOTHING]
    if not features or not len(rows):
        return None
    matrix = np.stack([feature.values[rows] for feature in features], axis=1)
    fewest = max(_FEWEST, len(rows) // 100)
    candidates = []
    for depth in range(1, _DEEPEST + 1):
        tree = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=fewest, random_state=0)
        tree.fit(matrix, classes.ids[rows])
        errors = int((tree.predict(matrix) != classes.ids[rows]).sum())
        fitted = _Fitted(columns, classes, features, matrix, tree.tree_, tree.classes_)
        text, used = fitted.text(0, np.arange(len(rows)))
        if used:
            cost = ERROR * errors + (STEP + LIMIT) * (tree.tree_.n_leaves - 1)
            candidates.append(
                RuleCandidate(text, tuple(name for name in columns.names if name in used), cost)
            )
    return cheapest(candidates)


@dataclass(frozen=True)
class _Fitted:
    """A fitted tree, to be written as CEL."""

    columns: Columns
    classes: Codes
    features: Sequence[_Feature]
    matrix: Numbers
    tree: Any
    kinds: Any

    def text(self, node: int, rows: Ids) -> tuple[str, set[str]]:
        """The tree below a node, which `rows` reach, and the fields that it reads."""
        left, right = self.tree.children_left[node], self.tree.children_right[node]
        if left == right:
            kind = int(self.kinds[self.tree.value[node][0].argmax()])
            return literal(self.classes.values[kind]), set()
        at = int(self.tree.feature[node])
        column = self.matrix[rows, at]
        low = column <= self.tree.threshold[node]
        (no, no_fields), (yes, yes_fields) = self.text(left, rows[low]), self.text(right, rows[~low])
        fields = no_fields | yes_fields
        if no == yes:
            return no, fields
        feature = self.features[at]
        condition = self._condition(feature, float(column[low].max()), float(column[~low].min()))
        return f"{condition} ? {f'({yes})' if ' ? ' in yes else yes} : {no}", fields | {feature.field}

    def _condition(self, feature: _Feature, low: float, high: float) -> str:
        if feature.condition:
            return feature.condition
        name = read(feature.field)
        known = f"{name} != null && " if self.columns.nullable(feature.field) else ""
        limit = shortest(low, high)
        whole = self.columns.whole(feature.field) and limit == int(limit)
        return f"{known}{name} >= {literal(int(limit) if whole else limit)}"


def _features(columns: Columns, inputs: Sequence[str]) -> Iterator[_Feature]:
    for field in inputs:
        name = read(field)
        if field in columns.numbers and not columns.identifies(field):
            numbers = columns.numbers[field]
            if not np.isnan(numbers).all():
                # In CEL a null takes the branch of small numbers, since it is asked for first.
                yield _Feature(field, np.where(np.isnan(numbers), np.nanmin(numbers) - 1, numbers))
        if field in columns.categories:
            codes = columns.categories[field]
            for id, value in enumerate(codes.values):
                if value is not False:
                    condition = name if value is True else f"{name} == {literal(value)}"
                    yield _Feature(field, (codes.ids == id).astype(float), condition)
        if field in columns.lists:
            lists = columns.lists[field]
            for item in sorted({item for items in lists for item in items or ()})[:_MOST_FEATURES]:
                there = np.array([float(item in (items or ())) for items in lists])
                yield _Feature(field, there, f"{literal(item)} in {name}")
        if columns.nullable(field):
            null = np.array([float(value is None) for value in columns.column(field)])
            yield _Feature(field, null, f"{name} == null")
