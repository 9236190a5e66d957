"""Levels of labels, such as line/peril: recognised in the labels, or declared.

Labels have levels if all of them have as many parts, most share their upper part with another one, and a part
stands in one place only. Where some labels have parts and others have none, nobody but their owner knows, so
they stay as they are until that is said. An order of labels (low, medium, high) is declared: nothing in them
tells it. Knows nothing of examples, files or models.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from azubi.settings import RecordField

_SEPARATORS = ("/", "\\", "|", ">", "::", ":", " - ")
_SHARING = 0.5
"""Share of the labels with parts that share their upper part with another one, at least."""
_MOVING = 0.1
"""Share of the parts that stand in several places, at most: others are lists of labels in any order."""
NO_LEVELS = "none"
"""Declares that a sign in labels parts no levels."""


@dataclass(frozen=True)
class Levels:
    """How labels are taken apart."""

    separator: str
    names: tuple[str, ...]
    """What the levels are called, from the top; their numbers where nothing names them."""


def parts(label: str, separator: str) -> tuple[str, ...]:
    """The parts of a label, from the top."""
    return tuple(part.strip() for part in label.split(separator))


def levels_of(
    labels: Sequence[str], answer: str | Mapping[str, RecordField]
) -> tuple[Levels | None, str, str]:
    """The levels of labels, if they have any; what a person should know of it, and how to have it otherwise.

    `answer` is the recipe's setting. Where it declares the levels there is nothing to say.
    """
    name, field = (answer, None) if isinstance(answer, str) else next(iter(answer.items()))
    declared = field.levels if field is not None else None
    if declared is not None:
        sign = None if declared == NO_LEVELS else declared
        return (_levels(labels, sign, name) if sign else None), "", ""
    sign = next((sign for sign in _SEPARATORS if _parted(labels, sign)), None)
    if sign is None:
        return None, "", ""
    paths = {label: parts(label, sign) for label in labels}
    example = next(label for label, path in paths.items() if len(path) > 1)
    depths = Counter(map(len, paths.values()))
    if len(depths) > 1:
        usual = depths.most_common(1)[0][0]
        other = next(label for label, path in paths.items() if len(path) != usual)
        title = (
            f"Labels such as “{example}” may have levels, parted by “{sign.strip()}”, but “{other}” has not "
            "as many: they are taken as they are."
        )
        setting = declaring(answer, f"levels: {json.dumps(sign)}")
        return None, title, f"If they have levels, say so: {setting}."
    levels, tops = _levels(labels, sign, name), len({path[0] for path in paths.values()})
    title = (
        f"The labels have {len(levels.names)} levels, parted by “{sign.strip()}” as in “{example}”, {tops} "
        "at the top: each level is scored, too."
    )
    setting = declaring(answer, f"levels: {NO_LEVELS}")
    return levels, title, f"If they have none, say so: {setting}."


def declaring(answer: str | Mapping[str, RecordField], declared: str) -> str:
    """The flags that declare something of the labels, such as their levels, beside the recipe's setting."""
    name = answer if isinstance(answer, str) else next(iter(answer))
    column = answer if isinstance(answer, str) else answer[name].column
    return f"--task labels --answer '{{{name}: {{column: {column}, {declared}}}}}'"


def declared_order(answer: str | Mapping[str, RecordField]) -> tuple[str, ...]:
    """The order of the labels that the recipe's setting declares; empty if it declares none."""
    return () if isinstance(answer, str) else next(iter(answer.values())).order or ()


def _levels(labels: Sequence[str], sign: str, name: str) -> Levels:
    depth = max(len(parts(label, sign)) for label in labels)
    names = parts(name, sign)
    return Levels(sign, names if len(names) == depth > 1 else tuple(map(str, range(1, depth + 1))))


def _parted(labels: Sequence[str], sign: str) -> bool:
    """Whether at least half of the labels have parts that look like levels."""
    paths = [path for label in labels if len(path := parts(label, sign)) > 1]
    if 2 * len(paths) < len(labels) or not paths or not all(map(all, paths)):
        return False
    uppers = Counter(path[:-1] for path in paths)
    places: dict[str, set[int]] = {}
    for path in paths:
        for place, part in enumerate(path):
            places.setdefault(part, set()).add(place)
    sharing = sum(count for count in uppers.values() if count > 1)
    moving = sum(len(each) > 1 for each in places.values())
    several_tops = len({path[0] for path in paths}) > 1
    return several_tops and sharing >= _SHARING * len(paths) and moving <= _MOVING * len(places)
