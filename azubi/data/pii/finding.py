"""The finding on personal data: how many examples hold which kinds, where, and what was not looked for.

What it shows of a value is its beginning and its end, so that a report can be passed on. Knows nothing of how
a finding is shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

from azubi.data.example import Example
from azubi.data.finding import SHOWN, Case, Dataset, Finding
from azubi.data.pii import kinds, policy
from azubi.data.pii.policy import Rules, Tally
from azubi.data.pii.scanner import Scanner
from azubi.data.pii.workers import mapped

UNSEEN = (
    "Not looked for: postal addresses, dates of birth, what is said in words (illness, religion), "
    "the numbers of other countries' authorities, and whatever else has no fixed form."
)
UNSEEN_NAMES = (
    "Names of people are not looked for either: that takes a recogniser, a folder given as `names`."
)
SEEN_NAMES = "Names are found as well as the recogniser in {folder} finds them, which azubi cannot know."


def findings(
    material: Dataset,
    patterns: Mapping[str, str] | None = None,
    names: Path | None = None,
    processes: int | None = None,
) -> Iterator[Finding]:
    """Look for personal data in a data set, with all cores or as many `processes` as given.

    `patterns` are the company's own by name, `names` is the folder of a name recogniser. Yields one finding,
    a note if nothing was found: what was not looked for has to be told in any case.

    Raises:
        SettingError: a pattern or the name recogniser cannot be used.
        DataError: one of the company's patterns took too long.
    """
    rules = policy.rules("report", patterns, names)
    looked_for = Scanner(patterns, names).kinds
    tally, cases = Tally(), list[Case]()
    examples = chain.from_iterable(material.batches())
    for line, kinds_found, shown in mapped(partial(_scan, rules), examples, 1 if names else processes):
        tally.add(line, kinds_found)
        if kinds_found and len(cases) < SHOWN:
            cases.append(Case(lines=(line,), text=shown))
    yield _finding(tally, tuple(cases), looked_for, names)


def _scan(rules: Rules, examples: Sequence[Example]) -> list[tuple[int, tuple[str, ...], str]]:
    """Of each example its line, the kinds in it (once per place), and what to show of the first place."""
    scanner = _scanner(rules)
    many = [(*(turn.content for turn in example.turns), example.answer) for example in examples]
    spans_of_texts = iter(scanner.find_all([text for texts in many for text in texts]))
    accessed = []
    for example, texts in zip(examples, many, strict=True):
        spans = [(place, text, span) for place, text in enumerate(texts) for span in next(spans_of_texts)]
        shown = ""
        if spans:
            place, text, first = spans[0]
            where = "the answer" if place == len(texts) - 1 else "the prompt"
            shown = f"{kinds.counted(first.kind, 1)[2:]} {shortened(first.of(text))} in {where}"
        accessed.append((example.line, tuple(span.kind for _, _, span in spans), shown))
    return accessed


@lru_cache(maxsize=4)
def _scanner(rules: Rules) -> Scanner:
    return Scanner(dict(rules.patterns), rules.names)


def shortened(value: str) -> str:
    """The beginning and the end of a value: enough to find it, too little to use it."""
    kept = min(2, len(value) // 4)
    return f"{value[:kept]}…{value[len(value) - kept :]}"


def _finding(tally: Tally, cases: tuple[Case, ...], looked_for: Sequence[str], names: Path | None) -> Finding:
    unseen = [UNSEEN, SEEN_NAMES.format(folder=names) if names else UNSEEN_NAMES]
    details = {
        "kinds": {
            kind: {"rows": tally.rows_by_kind[kind], "places": places}
            for kind, places in tally.places_by_kind.most_common()
        },
        "looked_for": list(looked_for),
        "not_looked_for": unseen,
    }
    if not tally.touched:
        return Finding(
            kind="personal_data",
            level="note",
            routine=True,
            title=f"No personal data of the kinds that have a form was found in {tally.rows:,} examples.",
            count=0,
            why=" ".join(unseen),
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
        + " ".join(unseen),
        remedy="Set personal_data: mask or pseudonym, so that the model sees [IBAN] or a made-up one, "
        "or refuse, and take them out. The company's own numbers: patterns: {policy: 'P-\\d{8}'}.",
        details=details,
    )
