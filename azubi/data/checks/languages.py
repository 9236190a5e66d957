"""Which languages the prompts are in, as py3langid tells them.

It tells a language by its letters and is often wrong about a few words, so short texts and unsure cases are
left out. Knows nothing of which languages a base understands.
"""

from collections import Counter
from collections.abc import Iterator

from azubi.data.checks.check_input import CheckInput
from azubi.data.checks.formatting import excerpt, listed, share
from azubi.data.finding import SHOWN, Case, Finding
from azubi.data.language import language

DRAWN = 2_000
"""Prompts that are looked at, evenly drawn."""
SEEN = 2
"""Prompts that must be in a language before it is named, unless there is no doubt about one of them."""


def languages(subject: CheckInput) -> Iterator[Finding]:
    """The languages and their shares; the first prompts in the rarer ones."""
    found: Counter[str] = Counter()
    lines: dict[str, list[Case]] = {}
    looked_at, clear = 0, set[str]()
    for example in subject.drawn(DRAWN):
        looked_at += 1
        code, certain = language(example.prompt)
        if code:
            found[code] += 1
            clear |= {code} if certain else set()
            case = Case(lines=(example.line,), text=f"{_name(code)}: {excerpt(example.prompt)}")
            lines.setdefault(code, []).append(case)
            del lines[code][SHOWN:]
    known = [(code, count) for code, count in found.most_common() if count >= SEEN or code in clear]
    if not known:
        return
    total = sum(count for _, count in known)
    named = [f"{_name(code)} {share(count / total)}" for code, count in known]
    yield Finding(
        kind="languages",
        level="note",
        routine=len(known) == 1,
        title=f"The prompts are in {listed(named, 6)}."
        if len(known) > 1
        else f"The prompts are in {_name(known[0][0])}.",
        count=len(known),
        cases=tuple([case for code, _ in known[1:] for case in lines[code]][:SHOWN]),
        why="A base reads the languages that it was made from; a rare one is learned from few examples. "
        f"Told from {total:,} of {looked_at:,} prompts that were drawn; the others are too short or not "
        "clear.",
        remedy="Choose a base that knows these languages. Rows in a language that you did not expect may be "
        "there by mistake.",
        details={"languages": [[code, count] for code, count in known], "looked_at": looked_at},
    )


def _name(code: str) -> str:
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
