"""What is done about personal data in examples and questions: `report`, `mask`, `pseudonym` or `refuse`.

Under `mask` a placeholder such as [IBAN] takes a value's place, under `pseudonym` a made-up value of the same
shape. That holds for all of an example: turns, answer, key and group. A key or group gets pseudonyms under
`mask` too: placeholders would make one group of all.

A specialist is asked as it was trained (`Questions`). Pseudonyms in an answer are put back only if its own
question brought the value, so that nobody is shown another person's data. Placeholders stay: [IBAN] does not
say whose.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from azubi.data.example import Example, Turn
from azubi.data.finding import SHOWN, Case, Finding
from azubi.data.pii import kinds, scanner
from azubi.data.pii.kinds import Span
from azubi.data.pii.pseudonyms import Pair, Pseudonymizer, PseudonymMap, ReIdentifier, Value
from azubi.data.pii.scanner import Scanner
from azubi.errors import DataError

Policy = Literal["report", "mask", "pseudonym", "refuse"]

_ROUNDS = 5
"""Masking is repeated until nothing is found: what was masked may have hidden something else."""

Texts = tuple[str, ...]
"""All texts of one example: its turns, its answer, its key, its group."""
Spans = list[list[Span]]
"""What was found in each of them."""


@dataclass(frozen=True)
class Rules:
    """What is looked for, and what is done about it."""

    policy: Policy
    patterns: Mapping[str, str] | None = None
    """The company's own, by name."""
    names: Path | None = None
    """Folder of a name recogniser."""
    key: bytes = field(default=b"", repr=False)
    """Key of the pseudonyms."""
    known: Sequence[Pair] = field(default=(), repr=False)
    """Pairs of earlier runs with this key."""

    @property
    def changes(self) -> bool:
        """Whether examples come out other than they came in."""
        return self.policy in ("mask", "pseudonym")


@dataclass
class Tally:
    """What was found in a data set."""

    rows: int = 0
    """Examples in all."""
    touched: int = 0
    """Examples that hold personal data."""
    rows_by_kind: Counter[str] = field(default_factory=Counter)
    places_by_kind: Counter[str] = field(default_factory=Counter)
    lines: list[int] = field(default_factory=list)
    """The first lines that hold any."""

    def add(self, line: int, spans: Spans) -> None:
        """Count one example."""
        places = Counter(span.kind for of_text in spans for span in of_text)
        self.rows += 1
        self.touched += bool(places)
        self.places_by_kind.update(places)
        self.rows_by_kind.update(places.keys())
        if places and len(self.lines) < SHOWN:
            self.lines.append(line)

    @property
    def summary(self) -> str:
        """12 IBANs, 3 phone numbers: the places by kind, most first."""
        return ", ".join(kinds.counted(kind, count) for kind, count in self.places_by_kind.most_common())


@dataclass(frozen=True)
class Applied:
    """Examples after the policy, and what was found in them."""

    examples: tuple[Example, ...]
    tally: Tally


def apply(
    examples: Sequence[Example],
    rules: Rules,
    pseudonym_map: PseudonymMap | None = None,
    processes: int = -1,
) -> Applied:
    """Carry out the policy on `examples`; under `report` they come back as they are.

    Pairs of the map hold, and new ones are added to it. Of many examples all cores look through some, or as
    many `processes` as given.

    Raises:
        DataError: the policy is `refuse` and there is personal data; or a custom pattern took too long.
        SettingError: a pattern or the name recogniser cannot be used.
    """
    redactor = Redactor(rules)
    texts = [_texts(example) for example in examples]
    spans = _find(redactor.scanner, texts, processes)
    tally = Tally()
    for example, spans_of_example in zip(examples, spans, strict=True):
        tally.add(example.line, spans_of_example)
    if rules.policy == "refuse" and tally.touched:
        raise _refused(tally)
    if not rules.changes:
        return Applied(tuple(examples), tally)
    redactor.assign(texts, spans, pseudonym_map)
    redacted = map(redactor.redact, texts, spans)
    changed = (
        example if new == old else _with_texts(example, new)
        for example, old, (new, _) in zip(examples, texts, redacted, strict=True)
    )
    return Applied(tuple(changed), tally)


def mask_all(
    texts: Sequence[str], patterns: Mapping[str, str] | None = None, names: Path | None = None
) -> list[str]:
    """Texts with placeholders."""
    redactor = Redactor(Rules("mask", patterns, names))
    return [
        redactor.mask(text, spans)
        for text, spans in zip(texts, redactor.scanner.find_all(texts), strict=True)
    ]


class Redactor:
    """Hides what the scanner finds."""

    def __init__(self, rules: Rules) -> None:
        """Take the rules; what they say of patterns and names must be usable, else it is a SettingError."""
        self._masks = rules.policy == "mask"
        self.scanner = Scanner(rules.patterns, rules.names)
        self._pseudonymizer = Pseudonymizer(rules.key, self.scanner.patterns, rules.known)

    def assign(
        self, texts: Iterable[Texts], spans: Iterable[Spans], pseudonym_map: PseudonymMap | None = None
    ) -> None:
        """Give everything that was found a pseudonym."""
        values = set[Value]()
        for of_example, spans_of_example in zip(texts, spans, strict=True):
            for place, (text, spans_of_text) in enumerate(zip(of_example, spans_of_example, strict=True)):
                if spans_of_text and not self._is_masked(place, of_example):
                    source = scanner.read(text)
                    for span in spans_of_text:
                        values.update(self._pseudonymizer.values(span.kind, source.value(span)))
        if pseudonym_map is None:
            self._pseudonymizer.assign(values)
        else:
            pseudonym_map.extend(lambda known: self._pseudonymizer.assign(values, known))

    def redact(self, texts: Texts, spans: Spans) -> tuple[Texts, list[Pair]]:
        """The texts of one example without what was found, and the pairs that took its place."""
        changed, pairs = [], list[Pair]()
        for place, (text, spans_of_text) in enumerate(zip(texts, spans, strict=True)):
            if self._is_masked(place, texts):
                changed.append(self.mask(text, spans_of_text))
            else:
                changed.append(self._pseudonymise(text, spans_of_text, pairs))
        return tuple(changed), pairs

    def _is_masked(self, place: int, texts: Texts) -> bool:
        """Whether a text gets placeholders; the last two, key and group, always get pseudonyms."""
        return self._masks and place < len(texts) - 2

    def mask(self, text: str, spans: Sequence[Span]) -> str:
        """A text with placeholders."""
        for _ in range(_ROUNDS):
            if not spans:
                break
            text = scanner.read(text).replace((span, kinds.placeholder(span.kind)) for span in spans)
            spans = self.scanner.find(text)
        return text

    def _pseudonymise(self, text: str, spans: Sequence[Span], pairs: list[Pair]) -> str:
        if not spans:
            return text
        source, replacements = scanner.read(text), []
        for span in spans:
            pseudonym, new_pairs = self._pseudonymizer.replace(span.kind, source.value(span))
            replacements.append((span, pseudonym))
            pairs.extend(new_pairs)
        return source.replace(replacements)


class Questions:
    """Hides from a specialist what training hid from it, and puts back what a question brought."""

    def __init__(self, rules: Rules) -> None:
        """Take the rules under which the specialist was trained."""
        self._redactor = Redactor(rules) if rules.changes else None

    def hidden(self, questions: Sequence[tuple[Turn, ...]]) -> list[tuple[tuple[Turn, ...], ReIdentifier]]:
        """Each question as the model may see it, and what puts its values back into the answer."""
        if self._redactor is None:
            return [(question, ReIdentifier(())) for question in questions]
        texts = [(*(turn.content for turn in question), "", "") for question in questions]
        spans = _find(self._redactor.scanner, texts)
        self._redactor.assign(texts, spans)
        return [
            (_with_contents(question, new), ReIdentifier(pairs))
            for question, (new, pairs) in zip(
                questions, map(self._redactor.redact, texts, spans), strict=True
            )
        ]


def _find(scanner: Scanner, texts: Sequence[Texts], processes: int = -1) -> list[Spans]:
    """What stands in the texts of each example."""
    spans = iter(scanner.find_all([text for of_example in texts for text in of_example], processes))
    return [[next(spans) for _ in of_example] for of_example in texts]


def _texts(example: Example) -> Texts:
    return (*(turn.content for turn in example.turns), example.answer, example.key, example.group)


def _with_texts(example: Example, texts: Texts) -> Example:
    *turns, answer, key, group = texts
    return replace(example, turns=_with_contents(example.turns, turns), answer=answer, key=key, group=group)


def _with_contents(turns: Sequence[Turn], texts: Sequence[str]) -> tuple[Turn, ...]:
    return tuple(replace(turn, content=text) for turn, text in zip(turns, texts, strict=False))


# What is said about it


def summary(rules: Rules, tally: Tally) -> str:
    """What a run says about what it found."""
    done = {
        "report": "The model sees it; with --personal-data mask or pseudonym it does not.",
        "mask": "Placeholders took its place.",
        "pseudonym": "Pseudonyms of the same shape took its place.",
    }
    names = "" if rules.names else " Names of people were not looked for."
    return (
        f"{tally.touched:,} of {tally.rows:,} examples hold personal data: {tally.summary}. "
        f"{done.get(rules.policy, '')}{names}"
    )


def _refused(tally: Tally) -> DataError:
    lines = ", ".join(f"{line:,}" for line in tally.lines) + (" …" if tally.touched > SHOWN else "")
    return DataError(
        f"{tally.touched:,} of {tally.rows:,} examples hold personal data (line {lines}), which the recipe "
        f"refuses: {tally.summary}.",
        "Take it out, or let azubi do it: personal_data: mask, or pseudonym.",
    )


_NOT_FOUND = (
    "Not looked for: addresses outside Germany, dates of birth, what is said in words (illness, religion), "
    "the numbers of other countries' authorities, and whatever else has no fixed form."
)
_NO_NAMES = "Names of people are not looked for either: that takes a recogniser, a folder given as `names`."
_NAMES = "Names are found as well as the recogniser in {folder} finds them, which azubi cannot know."


def findings(
    examples: Sequence[Example], patterns: Mapping[str, str] | None = None, names: Path | None = None
) -> Iterator[Finding]:
    """Look for personal data in examples, by the company's own `patterns` and `names` recogniser, too.

    Yields one finding; a note if nothing was found, since what was not looked for has to be said in any case.

    Raises:
        SettingError: a pattern or the name recogniser cannot be used.
        DataError: one of the company's patterns took too long.
    """
    scanner, tally, cases = Scanner(patterns, names), Tally(), list[Case]()
    texts = [_texts(example)[:-2] for example in examples]
    for example, of_example, spans in zip(examples, texts, _find(scanner, texts), strict=True):
        tally.add(example.line, spans)
        if any(spans) and len(cases) < SHOWN:
            cases.append(Case(lines=(example.line,), text=_first_case(of_example, spans)))
    yield _finding(tally, tuple(cases), scanner.kinds, names)


def _first_case(texts: Texts, spans: Spans) -> str:
    place = next(place for place, of_text in enumerate(spans) if of_text)
    first = spans[place][0]
    where = "the answer" if place == len(texts) - 1 else "the prompt"
    return f"{kinds.counted(first.kind, 1)[2:]} {shortened(first.of(texts[place]))} in {where}"


def shortened(value: str) -> str:
    """The beginning and the end of a value: enough to find it, too little to use it."""
    kept = min(2, len(value) // 4)
    return f"{value[:kept]}…{value[len(value) - kept :]}"


def _finding(tally: Tally, cases: tuple[Case, ...], looked_for: Sequence[str], names: Path | None) -> Finding:
    not_found = [_NOT_FOUND, _NAMES.format(folder=names) if names else _NO_NAMES]
    details = {
        "kinds": {
            kind: {"rows": tally.rows_by_kind[kind], "places": places}
            for kind, places in tally.places_by_kind.most_common()
        },
        "looked_for": list(looked_for),
        "not_looked_for": not_found,
    }
    if not tally.touched:
        return Finding(
            kind="personal_data",
            level="note",
            routine=True,
            title=f"No personal data of the kinds that have a form was found in {tally.rows:,} examples.",
            count=0,
            why=" ".join(not_found),
            remedy="Look through some examples yourself for what was not looked for.",
            details=details,
        )
    hold = "example holds" if tally.touched == 1 else "examples hold"
    return Finding(
        kind="personal_data",
        level="warning",
        title=f"{tally.touched:,} {hold} personal data: {tally.summary}.",
        count=tally.touched,
        cases=cases,
        why="A model can repeat what it was trained on, and its answers may be shown to other people. "
        + " ".join(not_found),
        remedy="Set personal_data: mask or pseudonym, so that the model sees [IBAN] or a made-up one, "
        "or refuse, and take them out. The company's own numbers: patterns: {policy: 'P-\\d{8}'}.",
        details=details,
    )
