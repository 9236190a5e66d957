"""Long prompts from the example company: the whole file of a claim, of which one paper decides.

A file strings together what a claims desk collects on a claim: the report, letters, telephone notes,
invoices, extracts, each with its date and sender, and copies of the policyholder's closed claims. Which desk
has to work on the file follows from the report of the open claim; the other papers name no loss, or a closed
one. The answer is the line of business of that report. The same seed gives the same files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

Rows = list[dict[str, str]]
LENGTHS = (2_600, 4_500)
"""Characters of a file, drawn evenly: 1,000 to 2,000 tokens of a small English vocabulary."""
_OPENED = date(2026, 7, 1)
"""The first day on which a file may be opened; all losses are older."""


@dataclass(frozen=True)
class _File:
    """What the papers of a file have in common."""

    number: str
    holder: Any
    dice: Any

    def some(self, *choices: str) -> str:
        return str(self.dice.pick(choices))


@dataclass(frozen=True)
class _Paper:
    """One document, before it has a date and a place in the file."""

    sender: str
    text: str
    subject: str = ""
    """Empty for the open claim."""


def claim_files(generate: Any, seed: int, train: int, test: int) -> tuple[Rows, Rows]:
    """So many files for training and for the test, as prompt and answer.

    `generate` is the example company's module of that name.
    """
    notes = generate.generate(seed, 3 * train + 3, 3 * test + 3)
    dice = generate.Dice(seed)
    first, second = (
        [_row(dice, claims) for claims in _by_holder(split)[:count]]
        for split, count in zip(notes, (train, test), strict=True)
    )
    return first, second


def _by_holder(notes: Sequence[Any]) -> list[list[Any]]:
    """The notes of each policyholder, two or three."""
    claims: dict[str, list[Any]] = {}
    for note in notes:
        claims.setdefault(note.holder.policy, []).append(note)
    return list(claims.values())


def _row(dice: Any, claims: Sequence[Any]) -> dict[str, str]:
    report, *closed = claims
    file = _File(f"26-{100_000 + dice.below(900_000)}", report.holder, dice)
    size = LENGTHS[0] + dice.below(LENGTHS[1] - LENGTHS[0])
    return {"prompt": _text(file, _papers(file, report, closed, size)), "answer": report.record["line"]}


def _papers(file: _File, report: Any, closed: Sequence[Any], size: int) -> list[_Paper]:
    """The report, copies of closed claims, and as many other papers as make about `size` characters."""
    papers = [_Paper(file.some(file.holder.full, "claims desk, entered by hand"), report.text)]
    for note in closed:
        number = f"claim 25-{100_000 + file.dice.below(900_000)}, closed"
        papers.append(_Paper("archive", f"Copy for information.\n{note.text}", number))
    kinds: list[Callable[[_File], _Paper]] = []
    while sum(len(paper.text) + 60 for paper in papers) < size:
        kinds = kinds or file.dice.shuffled(_KINDS)
        papers.append(kinds.pop()(file))
    return list(file.dice.shuffled(papers))


def _text(file: _File, papers: Sequence[_Paper]) -> str:
    day = _OPENED + timedelta(days=file.dice.below(120))
    parts = [f"Claim file {file.number}, policyholder {file.holder.full}, policy {file.holder.policy}."]
    for place, paper in enumerate(papers, 1):
        subject = paper.subject or f"claim {file.number}"
        parts.append(f"[{place}] {day:%d.%m.%Y}, from {paper.sender}, re {subject}\n{paper.text}")
        day += timedelta(days=file.dice.below(9))
    return "\n\n".join(parts)


# The other papers


def _acknowledgement(file: _File) -> _Paper:
    days = 5 + file.dice.below(15)
    return _Paper(
        "Alster & Söhne",
        f"Dear {file.holder.formal},\n"
        + file.some("Thank you for your report.", "We have received your papers.", "Your letter has arrived.")
        + f" We have opened file {file.number} and shall write to you within {days} working days. "
        + file.some(
            "Please keep everything that was damaged until we have agreed on the loss.",
            "Please have nothing repaired that can wait until you hear from us.",
            "Should other insurers be involved, please send us their names and the policy numbers.",
        )
        + " "
        + file.some(
            "You can follow the state of your claim in the app at any time.",
            "If you write to us, please always give the number of the file.",
            "Your contact is at lunch from twelve to one; at other times somebody always answers.",
        )
        + f"\nYours sincerely, {file.some('M. Jessen', 'A. Kock', 'T. Reimers', 'S. Lüders')}, claims desk",
    )


def _request(file: _File) -> _Paper:
    papers = file.dice.shuffled(
        (
            "the signed declaration",
            "your bank details",
            "a copy of your identity card",
            "the power of attorney for your broker",
            "the questionnaire, both pages",
            "your consent to the exchange of data",
        )
    )
    return _Paper(
        "Alster & Söhne",
        f"Dear {file.holder.formal},\nto go on we still need {papers[0]} and {papers[1]}. "
        f"Please send them by the {10 + file.dice.below(18)}th of the month. "
        + file.some(
            "A photograph taken with the telephone is good enough if everything can be read.",
            "You may leave them at any of our offices; we make copies there free of charge.",
            "If we do not hear from you, we shall remind you once and then decide by what we have.",
        )
        + "\nWith kind regards, claims desk",
    )


def _reply(file: _File) -> _Paper:
    return _Paper(
        file.holder.full,
        file.some("Dear claims desk,", "Hello,", "Good morning,")
        + " "
        + file.some(
            "here is the form that you asked for, I hope that it is all right now.",
            "you had asked for my bank details, they are the same as for the premium.",
            "I signed the declaration and put it into the post this morning.",
            "I have now written three times and would like to know how things stand.",
        )
        + " "
        + file.some(
            "I shall be away for two weeks and can only be reached by e-mail.",
            "My neighbour can take letters, the bell is the second from the top.",
            "My broker knows about it and may speak for me.",
            "I was told on the telephone that it would take a week, and that was a month ago.",
        )
        + f"\n{file.holder.full}",
    )


def _telephone(file: _File) -> _Paper:
    return _Paper(
        "service line",
        f"{file.holder.formal} rang at {8 + file.dice.below(10)}:{10 + file.dice.below(50)}. "
        + file.some("Asked about the state of the file.", "Wanted to be called back.", "Was friendly.")
        + " "
        + file.some(
            "Told that the file is complete but for one signature and lies with the desk.",
            "Told that payment takes three working days from the decision.",
            "Told that we cannot say anything before the desk has read the file.",
            "Asked to send the questionnaire again, since page two was missing.",
        )
        + f" Waited {2 + file.dice.below(20)} minutes. New number 040 66969{100 + file.dice.below(900)}.",
    )


def _broker(file: _File) -> _Paper:
    house = file.some("Hafen Makler", "Kontor Nord", "Deichgraf Broker", "Nordlicht Makler")
    return _Paper(
        house,
        f"Ladies and gentlemen,\nour client {file.holder.formal} has asked us to help with {file.number}. "
        + file.some(
            "Our power of attorney is on record with you.",
            "Please send copies of all letters to us.",
            "We have advised the client to keep to the usual duties.",
        )
        + " "
        + file.some(
            "We should be glad of a decision before the end of the quarter.",
            "In our view the facts are clear from the report, and we ask for a swift settlement.",
            "The client has been with you for many years and hardly ever claimed.",
        )
        + f"\n{house}, file {1_000 + file.dice.below(9_000)}",
    )


def _invoice(file: _File) -> _Paper:
    what, price = file.dice.pick(
        (
            ("certified copies", 3),
            ("pages translated", 41),
            ("registered letters", 5),
            ("hours of interpreting", 68),
            ("months of storage", 55),
        )
    )
    count = 2 + file.dice.below(9)
    net = count * price
    tax = round(net * 0.19)
    return _Paper(
        file.some("Schreibbüro Elbe", "Kontor für Dienste", "Büroservice Alster"),
        f"Invoice {10_000 + file.dice.below(90_000)}\n{count} {what} at {price},00 EUR: {net},00 EUR\n"
        f"VAT 19 %: {tax},00 EUR\nTotal: {net + tax},00 EUR\nPayable within {7 + file.dice.below(24)} days "
        f"without deduction. Please give file {file.number} with your payment.",
    )


def _internal(file: _File) -> _Paper:
    return _Paper(
        file.some("M. Jessen", "A. Kock", "T. Reimers", "S. Lüders"),
        "Internal. "
        + file.some(
            "Scanned again, since the first scan was crooked and could not be read.",
            "Moved from the general tray. Please give it to the desk that the report belongs to.",
            "Same customer wrote twice on one day, both letters are in here.",
            "Holiday cover until the end of the month, no decisions above the usual limit.",
        )
        + " "
        + file.some(
            "Closed claims were copied from the archive, they do not concern this one.",
            "No sign of a second insurer. No sign of fraud. Limitation period noted.",
            "Premium is paid, cover existed on the day of the loss.",
            "Reminder set for next week.",
        ),
    )


def _schedule(file: _File) -> _Paper:
    lines = file.dice.shuffled(("motor", "contents", "building", "liability", "travel", "pet"))
    rows = "\n".join(
        f"{line}: sum insured {10 * (5 + file.dice.below(90))}.000 EUR, premium {90 + file.dice.below(900)},"
        f"{10 + file.dice.below(90)} EUR a year"
        for line in lines[: 3 + file.dice.below(3)]
    )
    return _Paper("policy office", f"Extract of policy {file.holder.policy}, as of today:\n{rows}")


def _account(file: _File) -> _Paper:
    rows = "\n".join(
        f"{1 + file.dice.below(28):02}.{month:02}.2026 premium received {40 + file.dice.below(200)},"
        f"{10 + file.dice.below(90)} EUR"
        for month in range(1, 3 + file.dice.below(5))
    )
    return _Paper("accounts", f"Premium account of {file.holder.policy}:\n{rows}\nNothing is overdue.")


def _notice(file: _File) -> _Paper:
    return _Paper(
        "Alster & Söhne",
        file.some(
            "How we use your data: we keep what you send us as long as the law demands, ten years as a rule. "
            "We pass it on only to those who help us to settle your claim, such as experts, and to the "
            "reinsurer where sums are high. You may ask at any time what we hold about you.",
            "Your duties after a loss: tell us without delay, keep the loss as small as you can, follow our "
            "advice where you have time to ask for it, and give us all facts that we need to judge the case. "
            "Whoever breaks these duties on purpose may lose the right to payment in part or in whole.",
            "If you are not content: write to our complaints office first. If its answer does not satisfy "
            "you, turn to the ombudsman, whose service is free of charge, or to the supervisory authority. "
            "Your right to go to court is not touched by this.",
        ),
    )


_KINDS = (
    *(_acknowledgement, _request, _reply, _telephone, _broker),
    *(_invoice, _internal, _schedule, _account, _notice),
)
