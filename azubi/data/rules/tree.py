"""A field that a shallow decision tree over the others gives: amount > 1000 or the customer is a member.

For what is no table and no list of limits, such as two numbers at once. Knows columns and classes; nothing of
how well a tree will do on records that it was not made from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from azubi.data.rules.columns import NOTHING, Codes, Columns, Ids, Numbers
from azubi.data.rules.draft import ERROR, LIMIT, STEP, RuleCandidate
from azubi.data.rules.formula import literal, read
from azubi.data.rules.shortest import shortest

DEEPEST = 4
FEWEST = 5
"""Records behind a leaf; one in a hundred of them if that is more."""
MOST_FEATURES = 300


@dataclass(frozen=True)
class _Feature:
    """A question about a record whose answer is a number, and how CEL asks it."""

    field: str
    values: Numbers
    is_number: bool
    condition: str
    """Of a yes or no: when it is yes."""


def fit(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The shallowest tree that gets nearly all of `rows` right, or None."""
    from sklearn.tree import DecisionTreeClassifier

    classes = columns.classes(target)
    if classes is None:
        return None
    features = _features(columns, inputs)[:MOST_FEATURES]
    rows = rows[classes.ids[rows] != NOTHING]
    if not features or not len(rows):
        return None
    matrix = np.stack([feature.values[rows] for feature in features], axis=1)
    least = max(FEWEST, len(rows) // 100)
    found: list[RuleCandidate] = []
    for depth in range(1, DEEPEST + 1):
        tree = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=least, random_state=0)
        tree.fit(matrix, classes.ids[rows])
        errors = int((tree.predict(matrix) != classes.ids[rows]).sum())
        grown = _Grown(columns, classes, features, matrix, tree.tree_, tree.classes_)
        text, used = grown.text(0, np.arange(len(rows)))
        if not used:
            continue
        cost = ERROR * errors + (STEP + LIMIT) * (tree.tree_.n_leaves - 1)
        found.append(RuleCandidate(text, tuple(name for name in columns.names if name in used), cost))
    return min(found, key=lambda draft: draft.cost, default=None)


@dataclass(frozen=True)
class _Grown:
    """A fitted tree, to be written down."""

    columns: Columns
    classes: Codes
    features: Sequence[_Feature]
    matrix: Numbers
    tree: Any
    known: Any

    def text(self, node: int, rows: Ids) -> tuple[str, set[str]]:
        left, right = self.tree.children_left[node], self.tree.children_right[node]
        if left == right:
            kind = int(self.known[self.tree.value[node][0].argmax()])
            return literal(self.classes.values[kind]), set()
        at = int(self.tree.feature[node])
        column = self.matrix[rows, at]
        low = column <= self.tree.threshold[node]
        (no, of_no), (yes, of_yes) = self.text(left, rows[low]), self.text(right, rows[~low])
        if no == yes:
            return no, of_no | of_yes
        feature = self.features[at]
        condition = self._condition(feature, float(column[low].max()), float(column[~low].min()))
        told = f"({yes})" if " ? " in yes else yes
        return f"{condition} ? {told} : {no}", of_no | of_yes | {feature.field}

    def _condition(self, feature: _Feature, low: float, high: float) -> str:
        if not feature.is_number:
            return feature.condition
        name = read(feature.field)
        known = f"{name} != null && " if self.columns.nullable(feature.field) else ""
        limit = shortest(low, high)
        whole = self.columns.whole(feature.field) and limit == int(limit)
        return f"{known}{name} >= {literal(int(limit) if whole else limit)}"


def _features(columns: Columns, inputs: Sequence[str]) -> list[_Feature]:
    found = []
    for field in inputs:
        name = read(field)
        if field in columns.numbers and not columns.identifies(field):
            numbers = columns.numbers[field]
            if not np.isnan(numbers).all():
                # In CEL a null takes the branch of small numbers, since it is asked for first.
                filled = np.where(np.isnan(numbers), np.nanmin(numbers) - 1, numbers)
                found.append(_Feature(field, filled, True, ""))
        if field in columns.categories:
            codes = columns.categories[field]
            for number, value in enumerate(codes.values):
                asked = name if value is True else f"{name} == {literal(value)}"
                if value is False:
                    continue
                found.append(_Feature(field, (codes.ids == number).astype(float), False, asked))
        if field in columns.lists:
            lists = columns.lists[field]
            for item in sorted({one for some in lists if some for one in some})[:MOST_FEATURES]:
                there = np.array([float(item in (some or ())) for some in lists])
                found.append(_Feature(field, there, False, f"{literal(item)} in {name}"))
        if columns.nullable(field):
            null = np.array([float(one is None) for one in columns.column(field)])
            found.append(_Feature(field, null, False, f"{name} == null"))
    return found
