"""Text that was decoded wrongly before it came here: “MÃ¼ller”, “â‚¬”, “M³ller”, “M�ller”.

Knows nothing of files: what azubi itself decodes is for the reader to say.
"""

# ruff: noqa: RUF001, RUF002 (the signs are meant)

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from azubi.data.checks.check_input import CheckInput
from azubi.data.checks.formatting import share, some
from azubi.data.checks.temp_dataset import TempDataset
from azubi.data.finding import SHOWN, Case, Finding

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


def mojibake(subject: CheckInput) -> Iterator[Finding]:
    """Examples in which letters are what a wrong encoding makes of them."""
    yield from _of(subject.data, "")
    if subject.test is not None:
        yield from _of(subject.test, "test ")


def _of(data: TempDataset, side: str) -> Iterator[Finding]:
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
        details={"sides": ["test"] if side else [], "causes": dict(causes)},
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
