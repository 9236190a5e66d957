"""Answer tokens that the answers' form dictates, and how often they are taught.

In a record the names of the fields, the quotation marks and the colons follow from what stands before
them; so do the later tokens of a long label. A tail has learned them after a few dozen lessons, yet each
would cost as much as any other, most of all in the language head. So most lessons leave them out of the
loss. Knows token ids; nothing of what they spell.
"""

from collections.abc import Sequence
from dataclasses import replace

from azubi.engine.model.batch import EncodedExample, Tokens

_LOOK_BACK = 4
"""Answer tokens from which the next one must follow."""
_OFTEN = 64
"""How often a context must have been seen, always with the same token after it."""
_TAUGHT = 4
"""One lesson in so many teaches the form."""


def mask_boilerplate(encoded: Sequence[EncodedExample]) -> list[EncodedExample]:
    """The same lessons, most of them without the targets that the form dictates.

    A target is dictated if the `_LOOK_BACK` answer tokens before it were, wherever they occur in
    `lessons`, followed by it. Which lessons teach the form follows from their order alone.
    """
    following = _following(encoded)
    return [
        lesson if number % _TAUGHT == 0 else replace(lesson, masked_targets=_masked(lesson, following))
        for number, lesson in enumerate(encoded)
    ]


def _following(encoded: Sequence[EncodedExample]) -> dict[Tokens, tuple[int, int]]:
    """For each context its one next token and how often it was seen; -1 where there are several."""
    found: dict[Tokens, tuple[int, int]] = {}
    for lesson in encoded:
        for answer in lesson.answers:
            for place, token in enumerate(answer):
                context = _context(answer, place)
                known, count = found.get(context, (token, 0))
                found[context] = (token if token == known else -1, count + 1)
    return found


def _masked(lesson: EncodedExample, following: dict[Tokens, tuple[int, int]]) -> frozenset[int]:
    if lesson.target_positions is None:
        return _dictated(lesson.targets, following)
    masked: set[int] = set()
    first = 0
    for answer in lesson.answers:
        masked |= {first + place for place in _dictated(answer, following)}
        first += len(answer)
    return frozenset(masked)


def _dictated(targets: Tokens, following: dict[Tokens, tuple[int, int]]) -> frozenset[int]:
    places = set()
    for place, token in enumerate(targets):
        known, count = following[_context(targets, place)]
        if known == token and count >= _OFTEN:
            places.add(place)
    # Where an answer ends is always taught, so that no lesson is without a target.
    return frozenset(places - {len(targets) - 1})


def _context(targets: Tokens, place: int) -> Tokens:
    # At the beginning of an answer, where fewer tokens stand before it, its place is part of the context.
    return targets[place - _LOOK_BACK : place] if place >= _LOOK_BACK else (-1 - place, *targets[:place])
