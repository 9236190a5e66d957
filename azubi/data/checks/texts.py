"""The texts of the examples: letters that were decoded wrongly, languages, lengths in tokens.

Counts tokens with a function that it is given; knows no tokenizer and no base.
"""

# ruff: noqa: RUF001 (the signs are meant)

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from azubi.data.checks.check_input import TEMPLATE_TOKENS, CheckInput, Tokens, size
from azubi.data.checks.ingest import Refusals, TempDataset
from azubi.data.example import Example
from azubi.data.finding import SHOWN, Case, Finding, excerpt, listed, share, some
from azubi.data.language import language

_OLD = ("cp1252", "mac_roman", "cp850", "cp437")
"""Encodings as which text is taken by mistake."""
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
    yield from _mojibake_in(check_input.data, "")
    if check_input.test is not None:
        yield from _mojibake_in(check_input.test, "test ")


def _mojibake_in(data: TempDataset, side: str) -> Iterator[Finding]:
    cases: list[Case] = []
    causes: Counter[str] = Counter()
    for example in (example for batch in data.batches() for example in batch):
        if fault := first_fault(f"{example.prompt}\n{example.answer}"):
            causes[fault.cause] += 1
            mended = f", which was “{fault.mended}”" if fault.mended else ""
            cases += [Case(lines=(example.line,), text=f"“{fault.word}”{mended}")] * (len(cases) < SHOWN)
    if not (count := causes.total()):
        return
    named = "; ".join(f"{cause} ({many:,})" for cause, many in causes.most_common())
    yield Finding(
        kind="mojibake_test" if side else "mojibake",
        level="warning",
        title=f"{some(count, f'{side}example')} ({share(count / len(data))}) with letters that were decoded "
        f"wrongly: {cases[0].text}.",
        count=count,
        cases=tuple(cases),
        why=f"Words that are spelled like this are other words to a model. The cause: {named}.",
        remedy="Export the data once more, as UTF-8. If they were read with --encoding, name another one.",
        details={"splits": ["test"] if side else [], "causes": dict(causes)},
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


_MOST_TIMES = 3


def _mended(codec: str, wrong: re.Match[str]) -> str:
    return bytes(_BYTES[codec][sign] for sign in wrong[0]).decode("utf-8", "replace")


def _word(text: str, place: int) -> str:
    """The word at a place."""
    before, after = text[max(0, place - 30) : place], text[place : place + 40]
    return (before.split()[-1:] or [""])[0] * (not before[-1:].isspace()) + (after.split() or [after])[0]


LANGUAGE_SAMPLE = 2_000
"""Prompts that are looked at, evenly drawn."""
SEEN = 2
"""Prompts that must be in a language before it is named, unless there is no doubt about one of them."""


def languages(check_input: CheckInput) -> Iterator[Finding]:
    """The languages and their shares; the first prompts in the rarer ones."""
    counts: Counter[str] = Counter()
    lines: dict[str, list[Case]] = {}
    looked_at, clear = 0, set[str]()
    for example in check_input.drawn(LANGUAGE_SAMPLE):
        looked_at += 1
        code, certain = language(example.prompt)
        if code:
            counts[code] += 1
            clear |= {code} if certain else set()
            case = Case(lines=(example.line,), text=f"{_language_name(code)}: {excerpt(example.prompt)}")
            lines.setdefault(code, []).append(case)
            del lines[code][SHOWN:]
    known = [(code, count) for code, count in counts.most_common() if count >= SEEN or code in clear]
    if not known:
        return
    total = sum(count for _, count in known)
    named = [f"{_language_name(code)} {share(count / total)}" for code, count in known]
    yield Finding(
        kind="languages",
        level="note",
        routine=len(known) == 1,
        title=f"The prompts are in {listed(named, 6)}."
        if len(known) > 1
        else f"The prompts are in {_language_name(known[0][0])}.",
        count=len(known),
        cases=tuple([case for code, _ in known[1:] for case in lines[code]][:SHOWN]),
        why="A base reads the languages that it was made from; a rare one is learned from few examples. "
        f"Told from {total:,} of {looked_at:,} prompts that were drawn; the others are too short or not "
        "clear.",
        remedy="Choose a base that knows these languages. Rows in a language that you did not expect may be "
        "there by mistake.",
        details={"languages": [[code, count] for code, count in known], "looked_at": looked_at},
    )


def _language_name(code: str) -> str:
    return _NAMES.get(code, code)


_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fi": "Finnish", "fr": "French", "he": "Hebrew",
    "hr": "Croatian", "hu": "Hungarian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "lb": "Luxembourgish", "lt": "Lithuanian", "lv": "Latvian", "nb": "Norwegian", "nl": "Dutch", 
    "nn": "Norwegian (Nynorsk)",
    "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak",
    "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "tr": "Turkish", "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip


LENGTH_SAMPLE = 2_000
"""Examples whose tokens are counted to tell the usual lengths."""
_LONGEST = 50
"""Longest examples, in characters, that are counted in any case."""
_BARS = 24
_BATCH = 1_000
MOST_COUNTED = 20_000
"""Examples that may be too long and are counted; of more, so many are drawn."""
_CAUTION = 0.7
"""A text may have this share of the bytes per token that the densest of those drawn have, and is counted."""


def lengths(check_input: CheckInput) -> Iterator[Finding]:
    """Lengths, and what exceeds the base."""
    if not len(check_input.data):
        return
    longest = heapq.nlargest(_LONGEST, check_input.examples(), key=_characters)
    drawn = list(check_input.drawn(LENGTH_SAMPLE))
    if check_input.tokens is None:
        yield _lengths_finding(
            [_characters(example) for example in drawn],
            _characters(longest[0]),
            "characters",
            None,
            check_input,
        )
        return
    counted = check_input.tokens.count(drawn)
    top = max(max(counted), *check_input.tokens.count(longest))
    yield _lengths_finding(counted, top, "tokens", check_input.tokens, check_input)
    suspect = _suspicion(check_input.tokens, drawn, counted)
    yield from _too_long(check_input.data, check_input.refusals, check_input.tokens, suspect)
    if check_input.test is not None:
        yield from _too_long(
            check_input.test, check_input.test_refusals, check_input.tokens, suspect, "test "
        )


def _lengths_finding(
    counted: Sequence[int], longest: int, unit: str, tokens: Tokens | None, check_input: CheckInput
) -> Finding:
    median, most = (int(np.quantile(counted, part, method="higher")) for part in (0.5, 0.95))
    base = f" (as {tokens.base} counts; it reads {tokens.longest:,})" if tokens else ""
    # A few very long ones must not squeeze all others into one bar.
    shortest = max(1, min(counted))
    edges = np.unique(np.geomspace(shortest, max(longest, shortest) + 1, _BARS + 1).round().astype(int))
    heights, _ = np.histogram(np.maximum(counted, 1), edges)
    drawn = (
        ""
        if len(counted) == len(check_input.data)
        else f" Told from {len(counted):,} examples, evenly drawn."
    )
    return Finding(
        kind="lengths",
        level="note",
        routine=True,
        title=f"Half of the examples have at most {median:,} {unit}, 95 % at most {most:,}, the longest "
        f"{longest:,}{base}.",
        count=len(check_input.data),
        why="Prompt and answer together. Time and memory grow with them; a few very long ones cost as much "
        f"as many short ones.{drawn}",
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
    data: TempDataset, refused: Refusals, tokens: Tokens, suspect: Callable[[Example], bool], side: str = ""
) -> Iterator[Finding]:
    suspects = sum(suspect(example) for batch in data.batches() for example in batch)
    step = -(-suspects // MOST_COUNTED) or 1
    count, lost, cases = 0, 0, list[Case]()
    for example, length in _counted(data, tokens, suspect, step):
        if length <= tokens.longest:
            continue
        count += 1
        lost += length - tokens.longest
        if len(cases) < SHOWN:
            cases.append(_too_long_case(example, length, tokens.longest))
    if not count:
        return
    about = "About " if step > 1 else ""
    unusable, rows = refused.count + count * step, refused.count + len(data)
    yield Finding(
        kind="too_long_test" if side else "too_long",
        level="error" if unusable > refused.most * rows else "warning",
        title=f"{about}{some(count * step, f'{side}example is', f'{side}examples are')} longer than the "
        f"{tokens.longest:,} tokens that {tokens.base} reads.",
        count=count * step,
        cases=tuple(cases),
        why=f"{about or 'In all '}{lost * step:,} tokens would have to be cut, mostly from the end of the "
        "prompt. azubi does not cut: what is cut is answered all the same, and nobody sees it. Such examples "
        "are left out and count as rows that cannot be used (limits.rejected).",
        remedy="Shorten them (quoted mails, signatures, tables), or choose a base that reads more.",
        details={
            "splits": ["test"] if side else [],
            "tokens_lost": lost * step,
            "reads": tokens.longest,
            "counted_one_in": step,
        },
    )


def _suspicion(tokens: Tokens, drawn: Sequence[Example], counted: Sequence[int]) -> Callable[[Example], bool]:
    """Whether an example may be too long, told by its bytes and by how many a token has at least, usually."""
    dense = float(
        np.quantile([size(example) / max(1, n) for example, n in zip(drawn, counted, strict=True)], 0.01)
    )
    fewest = max(1.0, _CAUTION * dense) * (tokens.longest - TEMPLATE_TOKENS)
    return lambda example: size(example) >= fewest


def _counted(
    data: TempDataset, tokens: Tokens, suspect: Callable[[Example], bool], step: int
) -> Iterator[tuple[Example, int]]:
    """Every `step`-th of the examples that may be too long, and its tokens."""
    examples = (example for batch in data.batches() for example in batch)
    suspects = islice(filter(suspect, examples), 0, None, step)
    while some_of_them := list(islice(suspects, _BATCH)):
        yield from zip(some_of_them, tokens.count(some_of_them), strict=True)


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
