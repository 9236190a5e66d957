"""Text that many prompts share: an instruction, a mail footer, a signature, the fixed words of a form.

Such text does not say whether two prompts ask the same, so it is left out when they are compared. It is found
by runs of three words that occur in three tenths of the prompts, wherever they stand. A prompt that is
nothing but shared text is compared as a whole.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Kana and Han: every character is a word."""
LONGEST = 50_000
"""Characters of a prompt that are compared."""
_SHARE = 0.3
"""Share of the prompts in which a run of words occurs that is shared text."""
_FEWEST = 10
"""Prompts in which it occurs at least."""
_RUN = 3
"""Words of a run."""
_SAMPLE = 2_000
"""Prompts, evenly from all, in which shared text is looked for."""
_EDGE = 0.8
"""A run that overlaps a more frequent one is shared text if it occurs in so much of the prompts that have the
other. Else it is its edge: the instruction's last word, and what happens to follow it in many prompts."""
_WORD = re.compile(rf"[{ALONE}]|[^\s{ALONE}]+")


def normalised(prompt: str) -> str:
    """The prompt without differences of case, spacing and Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())


class SharedText:
    """Runs of words that many prompts share."""

    def __init__(self, runs: Mapping[tuple[str, ...], float] | None = None) -> None:
        """Take the runs, each with the share of the prompts in which it occurs."""
        self._runs = dict(runs or {})

    @classmethod
    def of(cls, prompts: Sequence[str]) -> "SharedText":
        """What these prompts share."""
        sample = prompts[:: -(-len(prompts) // _SAMPLE) or 1]
        counts = Counter(run for prompt in sample for run in set(_runs(normalised(prompt))))
        fewest = max(_FEWEST, _SHARE * len(sample))
        return cls({run: count / len(sample) for run, count in counts.items() if count >= fewest})

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __or__(self, other: "SharedText") -> "SharedText":
        return self if other._runs.keys() <= self._runs.keys() else SharedText(other._runs | self._runs)

    def without(self, prompt: str) -> str:
        """What is left of a prompt, `normalised`: all of it if it has no shared text, or nothing else."""
        text = normalised(prompt)
        shares = [self._runs.get(run, 0.0) for run in _runs(text)] if self._runs else []
        if not any(shares):
            return text
        words = [word.span() for word in _WORD.finditer(text[:LONGEST])]
        rest, end = list[str](), 0
        for (begin, until), is_shared in zip(words, _shared_words(shares, len(words)), strict=True):
            if not is_shared:
                # Where text was taken out there is a space; neighbours stay as they are.
                rest.append(text[begin:until] if begin == end or not rest else f" {text[begin:until]}")
            end = until
        left = "".join(rest) + text[LONGEST:]
        return left if any(map(str.isalnum, left)) else text


def _runs(text: str) -> Iterable[tuple[str, ...]]:
    words = _WORD.findall(text[:LONGEST])
    return zip(*(words[begin:] for begin in range(_RUN)), strict=False)


def _shared_words(shares: Sequence[float], words: int) -> list[bool]:
    """For each word whether it is in a run that is shared and no edge of another."""
    is_shared = [False] * words
    for at, share in enumerate(shares):
        if share and share >= _EDGE * max(shares[max(0, at - _RUN + 1) : at + _RUN]):
            is_shared[at : at + _RUN] = [True] * _RUN
    return is_shared
