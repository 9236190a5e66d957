"""What is done about personal data: `report`, `mask`, `pseudonym` or `refuse`, for examples and for
questions.

Under `mask` a placeholder such as [IBAN] takes a value's place, under `pseudonym` a pseudonym of the same
shape (`standins`). Both are applied to all that is told of an example: its turns, its answer, its key and its
group. A key or group gets pseudonyms under `mask` too: placeholders would make one group of all.

A specialist is asked as it was taught (`Questions`): it gets the question masked, or with pseudonyms. Of an
answer, pseudonyms are put back that came from its own question and from nowhere else, so that nobody is shown
another person's data; masks are not, since [IBAN] does not tell whose.

Knows nothing of files, models or runs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

from azubi.data.example import Example, Turn
from azubi.data.pii import json_text, kinds
from azubi.data.pii.kinds import Span
from azubi.data.pii.pseudonyms import Pair, Pseudonymizer
from azubi.data.pii.re_identify import ReIdentifier
from azubi.data.pii.scanner import Scanner
from azubi.data.pii.workers import mapped
from azubi.errors import DataError

Policy = Literal["report", "mask", "pseudonym", "refuse"]

SHOWN = 5
"""First lines that are named."""
_ROUNDS = 5
"""Masking is repeated until nothing is found: what was masked may have kept something else from being
seen."""


@dataclass(frozen=True)
class Rules:
    """What is looked for, and what is done about it. Small, and the same in every process."""

    policy: Policy
    patterns: tuple[tuple[str, str], ...] = ()
    """The company's own, by name."""
    names: Path | None = None
    """Folder of a name recogniser."""
    key: bytes = field(default=b"", repr=False)
    """Of the pseudonyms; needed for `mask` and `pseudonym`."""

    @property
    def changes(self) -> bool:
        """Whether examples come out other than they came in."""
        return self.policy in ("mask", "pseudonym")


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text, or several of one example, as the policy leaves them, and what was in them."""

    texts: tuple[str, ...]
    found: tuple[tuple[str, ...], ...]
    """The kinds in each text, once per place."""
    pairs: tuple[Pair, ...] = ()


@dataclass
class Tally:
    """What was found in a data set, counted as it goes by."""

    rows: int = 0
    """Examples in all."""
    touched: int = 0
    """Examples that hold personal data."""
    rows_by_kind: Counter[str] = field(default_factory=Counter)
    places_by_kind: Counter[str] = field(default_factory=Counter)
    lines: list[int] = field(default_factory=list)
    """The first lines that hold any."""

    def add(self, line: int, found: Iterable[str]) -> None:
        """Count one example."""
        places = Counter(found)
        self.rows += 1
        self.touched += bool(places)
        self.places_by_kind.update(places)
        self.rows_by_kind.update(places.keys())
        if places and len(self.lines) < SHOWN:
            self.lines.append(line)

    @property
    def summary(self) -> str:
        """12 IBANs, 3 phone numbers: the places by kind, most first."""
        return ", ".join(kinds.counted(kind, many) for kind, many in self.places_by_kind.most_common())


@dataclass(frozen=True)
class Applied:
    """Examples after the policy."""

    examples: tuple[Example, ...]
    tally: Tally
    pairs: frozenset[Pair] = frozenset()
    """What stands for what, if it was asked for."""


def apply(
    examples: Sequence[Example], rules: Rules, *, processes: int | None = None, keep_pairs: bool = False
) -> Applied:
    """Carry out the policy on `examples`.

    Under `report` they come back as they are. With many of them all cores are used, or as many `processes` as
    given.

    Raises:
        DataError: the policy is `refuse` and there is personal data; or one of the company's patterns took
        too long. SettingError: a pattern or the name recogniser cannot be used.
    """
    tally, pairs, treated = Tally(), set[Pair](), []
    for example, one in zip(examples, treat(map(parts, examples), rules, processes), strict=True):
        tally.add(example.line, (kind for kinds_of in one.found for kind in kinds_of))
        treated.append(_with_parts(example, one.texts) if rules.changes else example)
        if keep_pairs:
            pairs.update(one.pairs)
    if rules.policy == "refuse" and tally.touched:
        raise _refused(tally)
    return Applied(tuple(treated), tally, frozenset(pairs))


def parts(example: Example) -> tuple[str, ...]:
    """All that is told of an example: its turns, its answer, its key, its group."""
    return (*(turn.content for turn in example.turns), example.answer, example.key, example.group)


def treat(texts: Iterable[tuple[str, ...]], rules: Rules, processes: int | None = None) -> Iterator[Redacted]:
    """The parts of each example as the policy leaves them; the last two are its key and its group."""
    # A recogniser of names has threads of its own, and takes texts by the batch: it stays in one process.
    return mapped(partial(_treated, rules), texts, 1 if rules.names else processes)


def _treated(rules: Rules, many: Sequence[tuple[str, ...]]) -> list[Redacted]:
    return _redactor(rules).all(many)


@lru_cache(maxsize=4)
def _redactor(rules: Rules) -> "Redactor":
    return Redactor(rules)


class Redactor:
    """The policy, carried out on texts."""

    def __init__(self, rules: Rules) -> None:
        """Get the scanner and the pseudonyms ready."""
        self._rules = rules
        self._scanner = Scanner(dict(rules.patterns), rules.names)
        self._pseudonymizer = Pseudonymizer(rules.key, self._scanner.custom)

    def all(self, many: Sequence[tuple[str, ...]]) -> list[Redacted]:
        """The parts of many examples; the last two of each are its key and its group."""
        spans_of_texts = iter(self._scanner.find_all([text for texts in many for text in texts]))
        return [self._one(texts, [next(spans_of_texts) for _ in texts]) for texts in many]

    def _one(self, texts: tuple[str, ...], found: Sequence[list[Span]]) -> Redacted:
        kinds_by_text = tuple(tuple(span.kind for span in spans) for spans in found)
        if not self._rules.changes or not any(found):
            return Redacted(texts, kinds_by_text)
        masks = self._rules.policy == "mask"
        changed, pairs = [], list[Pair]()
        for place, (text, spans) in enumerate(zip(texts, found, strict=True)):
            if masks and place < len(texts) - 2:
                changed.append(self.masked(text, spans))
            else:
                changed.append(self.replaced(text, spans, pairs))
        return Redacted(tuple(changed), kinds_by_text, tuple(pairs))

    def masked(self, text: str, spans: Sequence[Span]) -> str:
        """The text with placeholders."""
        for _ in range(_ROUNDS):
            if not spans:
                break
            text = _put(text, [(span, kinds.placeholder(span.kind)) for span in spans])
            spans = self._scanner.find(text)
        return text

    def replaced(self, text: str, spans: Sequence[Span], pairs: list[Pair]) -> str:
        """The text with pseudonyms; what stands for what is added to `pairs`."""
        put = []
        for span in spans:
            other, made = self._pseudonymizer.replace(span.kind, json_text.meant(span.of(text), text))
            put.append((span, other))
            pairs.extend(made)
        return _put(text, put)


def _put(text: str, put: Sequence[tuple[Span, str]]) -> str:
    source = json_text.read(text)
    done, at = [], 0
    for span, other in put:
        done += [text[at : span.start], source.put(other, span.start, span.end)]
        at = span.end
    return "".join(done) + text[at:]


def _with_parts(example: Example, texts: Sequence[str]) -> Example:
    *turns, answer, key, group = texts
    if (*turns, answer, key, group) == parts(example):
        return example
    return replace(example, turns=_with_contents(example.turns, turns), answer=answer, key=key, group=group)


def _with_contents(turns: Sequence[Turn], texts: Sequence[str]) -> tuple[Turn, ...]:
    return tuple(replace(turn, content=text) for turn, text in zip(turns, texts, strict=False))


def _refused(tally: Tally) -> DataError:
    lines = ", ".join(f"{line:,}" for line in tally.lines) + (" …" if tally.touched > SHOWN else "")
    return DataError(
        f"{tally.touched:,} of {tally.rows:,} examples hold personal data (line {lines}), which the recipe "
        f"refuses: {tally.summary}.",
        "Take it out, or let azubi do it: personal_data: mask, or pseudonym.",
    )


class Questions:
    """Asks as was taught: hides what the policy hides from a question, and puts back what came from it."""

    def __init__(self, rules: Rules) -> None:
        """Take the rules under which the specialist was made."""
        self._rules = rules
        self._redactor = Redactor(rules) if rules.changes else None

    def hidden(self, questions: Sequence[tuple[Turn, ...]]) -> list[tuple[tuple[Turn, ...], ReIdentifier]]:
        """Each question as the model may see it, and what puts its values back into the answer."""
        if self._redactor is None:
            return [(question, ReIdentifier(())) for question in questions]
        texts = [(*(turn.content for turn in question), "", "") for question in questions]
        return [
            (_with_contents(question, treated.texts), ReIdentifier(treated.pairs))
            for question, treated in zip(questions, self._redactor.all(texts), strict=True)
        ]


def summary(rules: Rules, tally: Tally) -> str:
    """What a run says about what it found."""
    hold = f"{tally.touched:,} of {tally.rows:,} examples hold personal data: {tally.summary}."
    done = {
        "report": "The model sees it; with --personal-data mask or pseudonym it does not.",
        "mask": "Placeholders took its place.",
        "pseudonym": "Pseudonyms of the same shape took its place.",
    }
    names = "" if rules.names else " Names of people were not looked for."
    return f"{hold} {done.get(rules.policy, '')}{names}"


def rules(
    policy: Policy,
    patterns: Mapping[str, str] | None = None,
    names: Path | None = None,
    key: bytes = b"",
) -> Rules:
    """Rules out of settings."""
    return Rules(policy, tuple((patterns or {}).items()), names, key)
