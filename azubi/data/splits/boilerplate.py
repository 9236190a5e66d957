"""Text that many prompts share: an instruction, a mail footer, a signature, the fixed words of a form.

Such text says nothing about whether two prompts ask the same, so it does not count when they are compared. It
is told by runs of three words that stand in three tenths of the prompts, wherever they stand. Compared is
what is left of a prompt; of a prompt that is nothing but shared text, the whole.

Knows nothing of examples, splits or files.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

SHARE = 0.3
"""Share of the prompts in which a run of words stands that counts as shared text."""
FEWEST = 10
"""Prompts in which it stands at least."""
RUN = 3
"""Words of a run; of scripts without spaces, characters."""
LONGEST = 50_000
"""Characters of a prompt that are looked at."""

_SAMPLE = 2_000
"""Prompts from which it is told what is shared."""
_EDGE = 0.8
"""A run that overlaps another one is shared text if it stands in so much of the prompts that have the other;
else it is its edge: the instruction's last word, and what happens to follow it in many prompts."""
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Kana and Han: every character is a word."""
_WORD = re.compile(rf"[{_ALONE}]|[^\s{_ALONE}]+")

Run = tuple[str, ...]


def normalised(prompt: str) -> str:
    """The prompt without differences of case, spacing and Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())


class SharedText:
    """Runs of words that many prompts share."""

    def __init__(self, runs: Mapping[Run, float] | None = None) -> None:
        """`runs`: in which share of the prompts each one stands."""
        self._runs = dict(runs or {})

    @classmethod
    def of(cls, prompts: Sequence[str]) -> "SharedText":
        """What these prompts share; of many, some are looked at, evenly from all."""
        drawn = prompts[:: -(-len(prompts) // _SAMPLE) or 1]
        counts = Counter(run for prompt in drawn for run in set(_runs(_words(normalised(prompt)))))
        fewest = max(FEWEST, SHARE * len(drawn))
        return cls({run: count / len(drawn) for run, count in counts.items() if count >= fewest})

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __or__(self, other: "SharedText") -> "SharedText":
        return self if other._runs.keys() <= self._runs.keys() else SharedText(other._runs | self._runs)

    def without(self, prompt: str) -> str:
        """What is left of a prompt, `normalised`: itself if it has no shared text, or nothing else."""
        text = normalised(prompt)
        shares = list(map(self._runs.get, _runs(_words(text)))) if self._runs else []
        if not any(shares):
            return text
        spans = [word.span() for word in _WORD.finditer(text[:LONGEST])]
        shared = _covered([share or 0.0 for share in shares], len(spans))
        left, end = list[str](), 0
        for (begin, until), dropped in zip(spans, shared, strict=True):
            if not dropped:
                # What stands next to each other stays as it is; a gap where text was taken out is a space.
                left.append(text[begin:until] if begin == end or not left else f" {text[begin:until]}")
            end = until
        rest = "".join(left) + text[LONGEST:]
        return rest if any(letter.isalnum() for letter in rest) else text


def _words(text: str) -> list[str]:
    return _WORD.findall(text[:LONGEST])


def _runs(words: Sequence[str]) -> Iterable[Run]:
    return zip(*(words[begin:] for begin in range(RUN)), strict=False)


def _covered(shares: Sequence[float], words: int) -> list[bool]:
    """For each word whether it stands in a run that is shared and no edge of another."""
    covered = [False] * words
    for at, share in enumerate(shares):
        if share and share >= _EDGE * max(shares[max(0, at - RUN + 1) : at + RUN]):
            covered[at : at + RUN] = [True] * RUN
    return covered
