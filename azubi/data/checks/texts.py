"""The texts of the examples: letters that were decoded wrongly, languages, lengths in tokens.

Counts tokens with a function that it is given; knows no tokenizer and no base.
"""
# ruff: noqa: RUF001 (the signs are meant)

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from babel import Locale

from azubi.data import schema as schemas
from azubi.data.checks.check_input import TEMPLATE_TOKENS, CheckedPart, CheckInput, Tokens, size
from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.finding import SHOWN, Case, Finding, excerpt, listed, share, some
from azubi.data.language import detect_language
from azubi.data.rules import derivation

# Letters that were decoded wrongly

_OLD = ("cp1252", "mac_roman", "cp850", "cp437")
"""Encodings as which text is taken by mistake."""
_MOST_TIMES = 3
"""How often a text may have been decoded wrongly."""
_SIGNS = {
    codec: [bytes([byte]).decode(codec, "ignore") or chr(byte) for byte in range(256)] for codec in _OLD
}
_BYTES = {
    codec: {
        **{chr(byte): byte for byte in range(0x80, 0xA0)},
        **{sign: byte for byte, sign in enumerate(signs)},
    }
    for codec, signs in _SIGNS.items()
}


def _bytes_of_utf8(codec: str) -> re.Pattern[str]:
    """Characters that are the bytes of one in UTF-8: a letter of Europe's west, a sign, or an emoji."""
    signs = _SIGNS[codec]
    first = "".join(map(re.escape, signs[0xC2:0xC6]))
    later = "".join(map(re.escape, [*signs[0x80:0xC0], *map(chr, range(0x80, 0xA0))]))
    return re.compile(
        f"(?<!„)[{first}][{later}]|{signs[0xE2]}[{later}]{{2}}|{signs[0xF0]}[{signs[0x9F]}\x9f][{later}]{{2}}"
    )


_UTF8 = {codec: _bytes_of_utf8(codec) for codec in _OLD}
_WITHIN = re.compile(r"(?<=[^\W\d_])[³ⁿ¸‰÷ˆ▀](?=[^\W\d_])")
"""What stands between letters where ä, ö, ü or ß of cp1252 was taken for something older."""


class Fault(NamedTuple):
    """A word that was decoded wrongly."""

    word: str
    cause: str
    mended: str
    """What it was; empty if that is lost."""


def mojibake(check_input: CheckInput) -> Iterator[Finding]:
    """Examples in which letters are what a wrong encoding makes of them."""
    for part in check_input.parts:
        faults = [
            (example.line, fault)
            for example in part.examples
            if (fault := first_fault(f"{example.prompt}\n{example.answer}"))
        ]
        if not faults:
            continue
        causes = Counter(fault.cause for _, fault in faults)
        cases = [
            Case(
                lines=(line,),
                text=f"“{fault.word}”" + (f", which was “{fault.mended}”" if fault.mended else ""),
            )
            for line, fault in faults[:SHOWN]
        ]
        named = "; ".join(f"{cause} ({many:,})" for cause, many in causes.most_common())
        yield Finding(
            kind=f"mojibake{part.suffix}",
            level="warning",
            title=f"{some(len(faults), f'{part.prefix}example')} ({share(len(faults) / len(part.examples))}) "
            f"with letters that were decoded wrongly: {cases[0].text}.",
            count=len(faults),
            cases=tuple(cases),
            why=f"Words that are spelled like this are other words to a model. The cause: {named}.",
            remedy="Export the data once more, as UTF-8. If they were read with --encoding, name another "
            "one.",
            details={"splits": ["test"] if part.prefix else [], "causes": dict(causes)},
        )


def first_fault(text: str) -> Fault | None:
    """The first word of a text that was decoded wrongly, if there is one."""
    if text.isascii():
        return None
    if "\ufffd" in text:
        return Fault(_word(text, text.index("\ufffd")), "letters are lost, “\ufffd” stands for them", "")
    for codec, pattern in _UTF8.items():
        if match := pattern.search(text):
            word, times = _word(text, match.start()), 0
            mended = word
            while times < _MOST_TIMES and pattern.search(mended):
                mended, times = pattern.sub(partial(_mended, codec), mended), times + 1
            return Fault(word, f"UTF-8 was read as {codec}" + " twice" * (times > 1), mended)
    if match := _WITHIN.search(text):
        for codec in _OLD[1:]:
            byte = _BYTES[codec].get(match[0], 0)
            if bytes([byte]).decode("cp1252", "replace") in "äöüß":
                word = _word(text, match.start())
                mended = word.encode(codec, "replace").decode("cp1252", "replace")
                return Fault(word, f"cp1252 was read as {codec}", mended)
    return None


def _mended(codec: str, wrong: re.Match[str]) -> str:
    return bytes(_BYTES[codec][sign] for sign in wrong[0]).decode("utf-8", "replace")


def _word(text: str, place: int) -> str:
    """The word at a place."""
    before, after = text[max(0, place - 30) : place], text[place : place + 40]
    return (before.split()[-1:] or [""])[0] * (not before[-1:].isspace()) + (after.split() or [after])[0]


# Languages

LANGUAGE_SAMPLE = 2_000
"""Prompts that are looked at, evenly drawn."""
SEEN = 2
"""Prompts that must be in a language before it is named, unless there is no doubt about one of them."""


def languages(check_input: CheckInput) -> Iterator[Finding]:
    """The languages and their shares; the first prompts in the rarer ones."""
    sample = check_input.sample(LANGUAGE_SAMPLE)
    by_code: dict[str, list[Example]] = {}
    clear = set()
    for example in sample:
        code, certain = detect_language(example.prompt)
        if code:
            by_code.setdefault(code, []).append(example)
            clear |= {code} if certain else set()
    by_code = {code: group for code, group in by_code.items() if len(group) >= SEEN or code in clear}
    if by_code:
        yield _languages_finding(by_code, len(sample))


def _languages_finding(by_code: dict[str, list[Example]], sampled: int) -> Finding:
    ranked = sorted(by_code.items(), key=lambda pair: -len(pair[1]))
    names = {code: Locale("en").languages.get(code, code) for code in by_code}
    total = sum(map(len, by_code.values()))
    shares = [f"{names[code]} {share(len(group) / total)}" for code, group in ranked]
    return Finding(
        kind="languages",
        level="note",
        routine=len(ranked) == 1,
        title=f"The prompts are in {listed(shares, 6) if len(ranked) > 1 else names[ranked[0][0]]}.",
        count=len(ranked),
        cases=tuple(
            Case(lines=(example.line,), text=f"{names[code]}: {excerpt(example.prompt)}")
            for code, group in ranked[1:]
            for example in group[:SHOWN]
        )[:SHOWN],
        why="A base reads the languages that it was made from; a rare one is learned from few examples. "
        f"Told from {total:,} of {sampled:,} prompts that were drawn; the others are too short or not "
        "clear.",
        remedy="Choose a base that knows these languages. Rows in a language that you did not expect may be "
        "there by mistake.",
        details={"languages": [[code, len(group)] for code, group in ranked], "looked_at": sampled},
    )


# Lengths

LENGTH_SAMPLE = 2_000
"""Examples whose tokens are counted to tell the usual lengths."""
MOST_COUNTED = 20_000
"""Examples that may be too long and are counted; of more, so many are drawn."""
_LONGEST = 50
"""Longest examples, in characters, that are counted in any case."""
_BARS = 24
_BATCH = 1_000
_CAUTION = 0.7
"""A text may have this share of the bytes per token that the densest of those drawn have, and is counted."""


def lengths(check_input: CheckInput) -> Iterator[Finding]:
    """Lengths, and what exceeds the base."""
    sample, tokens = check_input.sample(LENGTH_SAMPLE), check_input.tokens
    longest = heapq.nlargest(_LONGEST, check_input.data, key=_characters)
    if tokens is None:
        counted = list(map(_characters, sample))
        yield _lengths_finding(check_input, counted, _characters(longest[0]))
        return
    counted = list(tokens.count(sample))
    yield _lengths_finding(check_input, counted, max(*counted, *tokens.count(longest)))
    # Tokens of an example are only counted if it has enough bytes to be too long.
    sizes = [size(example) / max(1, count) for example, count in zip(sample, counted, strict=True)]
    bytes_per_token = max(1.0, _CAUTION * float(np.quantile(sizes, 0.01)))
    fewest = bytes_per_token * (tokens.longest - TEMPLATE_TOKENS)
    for part in check_input.parts:
        suspects = [example for example in part.examples if size(example) >= fewest]
        yield from _too_long(part, suspects, tokens, check_input.recipe.limits.rejected)


def _lengths_finding(check_input: CheckInput, counted: Sequence[int], longest: int) -> Finding:
    tokens = check_input.tokens
    unit = "tokens" if tokens else "characters"
    median, most = (int(np.quantile(counted, part, method="higher")) for part in (0.5, 0.95))
    base = f" (as {tokens.base} counts; it reads {tokens.longest:,})" if tokens else ""
    # A few very long ones must not squeeze all others into one bar.
    shortest = max(1, min(counted))
    edges = np.unique(np.geomspace(shortest, max(longest, shortest) + 1, _BARS + 1).round().astype(int))
    heights, _ = np.histogram(np.maximum(counted, 1), edges)
    all_counted = len(counted) == len(check_input.data)
    sampled = "" if all_counted else f" Told from {len(counted):,} examples, evenly drawn."
    return Finding(
        kind="lengths",
        level="note",
        routine=True,
        title=f"Half of the examples have at most {median:,} {unit}, 95 % at most {most:,}, the longest "
        f"{longest:,}{base}.",
        count=len(check_input.data),
        why="Prompt and answer together. Time and memory grow with them; a few very long ones cost as much "
        f"as many short ones.{sampled}",
        remedy="Look at the longest: signatures, quoted mails and footers may be left out."
        + ("" if tokens else " With a base (--base) they are counted in its tokens."),
        details={
            "unit": unit,
            "base": tokens.base if tokens else None,
            "reads": tokens.longest if tokens else None,
            "counted": len(counted),
            "median": median,
            "at_most_95": most,
            "longest": longest,
            "histogram": [
                [int(a), int(b), int(n)] for a, b, n in zip(edges, edges[1:], heights, strict=False)
            ],
        },
    )


def _too_long(
    part: CheckedPart, suspects: Sequence[Example], tokens: Tokens, most_rejected: float
) -> Iterator[Finding]:
    step = -(-len(suspects) // MOST_COUNTED) or 1
    too_long = [
        (example, length)
        for example, length in _counted(suspects[::step], tokens.count)
        if length > tokens.longest
    ]
    if not too_long:
        return
    count = len(too_long) * step
    lost = sum(length - tokens.longest for _, length in too_long) * step
    about = "About " if step > 1 else ""
    unusable, rows = len(part.rejected) + count, len(part.rejected) + len(part.examples)
    yield Finding(
        kind=f"too_long{part.suffix}",
        level="error" if unusable > most_rejected * rows else "warning",
        title=f"{about}{some(count, f'{part.prefix}example is', f'{part.prefix}examples are')} longer than "
        f"the {tokens.longest:,} tokens that {tokens.base} reads.",
        count=count,
        cases=tuple(_too_long_case(example, length, tokens.longest) for example, length in too_long[:SHOWN]),
        why=f"{about or 'In all '}{lost:,} tokens would have to be cut, mostly from the end of the "
        "prompt. azubi does not cut: what is cut is answered all the same, and nobody sees it. Such examples "
        "are left out and count as rows that cannot be used (limits.rejected).",
        remedy="Shorten them (quoted mails, signatures, tables), or choose a base that reads more.",
        details={
            "splits": ["test"] if part.prefix else [],
            "tokens_lost": lost,
            "reads": tokens.longest,
            "counted_one_in": step,
        },
    )


def _counted(
    examples: Sequence[Example], count: Callable[[Sequence[Example]], Sequence[int]]
) -> Iterator[tuple[Example, int]]:
    waiting = iter(examples)
    while batch := list(islice(waiting, _BATCH)):
        yield from zip(batch, count(batch), strict=True)


def _characters(example: Example) -> int:
    return sum(len(turn.content) for turn in example.turns) + len(example.answer)


def _too_long_case(example: Example, length: int, most: int) -> Case:
    over = length - most
    kept = int(len(example.prompt) * max(0.0, 1 - over / length))
    return Case(
        lines=(example.line,),
        text=f"{length:,} tokens, {over:,} too many; lost would be about "
        f"{excerpt(example.prompt[kept:], 80)}",
    )


def schema_and_rules(check_input: CheckInput) -> Iterator[Finding]:
    """The schema of the records and each one that breaks it; rules that are given or hidden, and what
    contradicts them."""
    if check_input.task != "json":
        return
    records, given = list(check_input.records_of_data), check_input.recipe.derive
    inference = schemas.SchemaInference()
    for _, record in records:
        inference.add(record)
    schema = dict(check_input.schema or inference.schema())
    contract = Contract(task="json", fields=inference.names, json_schema=schema)
    if broken := schemas.finding(schema, records):
        yield broken
    yield _schema_finding(schema, given=bool(check_input.schema))
    if contradicted := derivation.contradictions(contract.deriving(given), records):
        yield contradicted
    proposals = derivation.propose([record for _, record in records], tuple(given))
    proposed = contract.deriving({proposal.field: proposal.rule for proposal in proposals})
    if hidden := derivation.hidden_rules(proposals, derivation.contradictions(proposed, records)):
        yield hidden


def _schema_finding(schema: Mapping[str, Any], *, given: bool) -> Finding:
    fields: Mapping[str, Any] = schema.get("properties", {})
    needed = set(schema.get("required", ()))
    named = [
        f"{name}: {schemas.described(part)}{'' if name in needed else ', not in every record'}"
        for name, part in fields.items()
    ]
    return Finding(
        kind="schema",
        level="note",
        title=f"Records have {some(len(fields), 'field')} by the schema that "
        f"{'is given' if given else 'they follow'}.",
        count=len(fields),
        cases=tuple(Case(lines=(), text=text) for text in named),
        why="It is kept with the specialist, and what reads its answers can rely on it.",
        remedy="Read it. If it is not what you meant, give your own: `schema: file.json`.",
        details={"schema": dict(schema)},
    )
