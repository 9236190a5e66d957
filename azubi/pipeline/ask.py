"""Asking a specialist: card and weights from its folder, put onto the base they belong to.

What is asked becomes what training would have made of it: rows of a source are read with the specialist's own
settings, personal data that was hidden from it is hidden, the system message that all examples shared is
taken off. Knows nothing of training.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from azubi.data import instruction
from azubi.data.contract import Task, parse_record
from azubi.data.example import Example, Turn
from azubi.data.pii import policy
from azubi.data.pii.policy import Questions
from azubi.data.pii.pseudonyms import KEY_BYTES, KeyFile, PseudonymMap, ReIdentifier
from azubi.data.readers.reading import source_from_settings as source_of
from azubi.data.readers.row import Asked
from azubi.data.readers.source import Source
from azubi.engine.base import hardware
from azubi.engine.base.base import Base
from azubi.engine.base.hardware import has_bfloat16, use_threads
from azubi.engine.base.opening import open_base
from azubi.engine.inference import answering
from azubi.engine.inference import scope as scopes
from azubi.engine.inference.answering import (
    Answer,
    Answering,
    Question,
    ScopedAnswers,
    by_base,
    no_answers,
)
from azubi.engine.inference.labels import Tokens
from azubi.engine.inference.review import ReviewedAnswers
from azubi.engine.inference.scope import Scope
from azubi.engine.model import weights
from azubi.engine.specialist import Specialist, new_specialist
from azubi.engine.split_model import SplitModel
from azubi.errors import BaseModelError, DataError
from azubi.registry import card as cards
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.settings import ScopeSettings

Outside = Literal["mark", "base", "caller"]
"""What becomes of a question that is not the specialist's job: see `settings.ScopeSettings.out_of_scope`."""

NO_RECORD = "The answer is no JSON record: a program that reads it will fail."

_OUT_OF_SCOPE_TOKENS = 256
"""Tokens that the base may write on what is not the specialist's job."""


_TOGETHER = 32_000
"""Characters of questions that all specialists answer before the next are read, so that readings are kept."""
_NOT_THE_SOURCE = ("data", "test_data", "validation_data", "sql", "query", "answers")
"""Settings that name the source that a specialist was trained from, and not how it is read."""
_USUAL = frozenset(("encoding", "delimiter", "sheet", "header"))
"""Settings that describe a file: the next one may be written otherwise."""


def answer(
    home: Path, name: str, prompts: Sequence[str | Asked], out_of_scope: Outside | None = None
) -> list[Answer]:
    """Answer each of `prompts`, texts or rows of `source`, with the specialist `name` (or `name@version`).

    What becomes of those out of scope its recipe says, unless `out_of_scope` does. A prompt that cannot be
    asked, or is longer than the base reads, is answered by nobody, with a note that says why.

    Raises:
        UnknownSpecialist: there is none of that name.
        BaseModelError: its base is not here, or is another one.
        CorruptFile: its files are not those that were registered, or its signature does not hold.
    """
    return answer_several(home, {name: prompts}, out_of_scope).answers[name]


@dataclass(frozen=True)
class AnswersByName:
    """What several specialists say to the same questions."""

    answers: dict[str, list[Answer]]
    """Of each specialist, by the name under which it was asked; in the order of the questions."""
    notes: tuple[str, ...] = ()
    """What cost more than it need."""


def answer_several(
    home: Path, asked: Mapping[str, Sequence[str | Asked]], out_of_scope: Outside | None = None
) -> AnswersByName:
    """Ask several specialists, each base in memory once; a question is read once for all who read it alike.

    `asked` has the prompts of each specialist, as many for each; they differ where specialists make other
    prompts of the same rows. For the rest see `answer`.
    """
    cards = [Store(home).get(name) for name in asked]
    specialists: list[Specialist] = []
    for card in cards:
        onto = next((each.model for each in specialists if fits(each.model, card)), None)
        specialists.append(loaded(card, home, onto))
    for specialist in specialists:
        if sum(each.model is specialist.model for each in specialists) > 1:
            specialist.model.share_readings()
    pairs = zip(specialists, cards, strict=True)
    speakers = [_answering(specialist, card, home, out_of_scope) for specialist, card in pairs]
    answers: dict[str, list[Answer]] = {name: [] for name in asked}
    for part in _portions(next(iter(asked.values()))) if len(asked) > 1 else [slice(None)]:
        for (name, prompts), speak in zip(asked.items(), speakers, strict=True):
            answers[name] += _replies(speak, prompts[part])
    return AnswersByName(answers, tuple(_reading_notes(list(asked), specialists)))


def _portions(prompts: Sequence[str | Asked]) -> Iterator[slice]:
    """Which prompts are asked together."""
    start = size = 0
    for number, prompt in enumerate(prompts):
        texts = [prompt] if isinstance(prompt, str) else [turn.content for turn in prompt.turns]
        size += sum(map(len, texts))
        if size > _TOGETHER and number > start:
            yield slice(start, number)
            start, size = number, sum(map(len, texts))
    yield slice(start, None)


def _replies(speak: Answering, prompts: Sequence[str | Asked]) -> list[Answer]:
    rows = [prompt if isinstance(prompt, Asked) else None for prompt in prompts]
    faults = [row.fault if row else "" for row in rows]
    questions = [prompt.turns if isinstance(prompt, Asked) else (Turn("user", prompt),) for prompt in prompts]
    sound = [turns for turns, fault in zip(questions, faults, strict=True) if not fault]
    answers = iter(answering.in_order(speak, sound) if sound else ())
    replies = [answering.unanswered(fault) if fault else next(answers) for fault in faults]
    return [
        replace(reply, notes=(*row.notes, *reply.notes)) if row else reply
        for reply, row in zip(replies, rows, strict=True)
    ]


def _reading_notes(names: Sequence[str], specialists: Sequence[Specialist]) -> Iterator[str]:
    """Which specialists on one base do not share its reading, and why."""
    for model in {id(each.model): each.model for each in specialists}.values():
        begins: dict[Tokens, list[str]] = {}
        for name, specialist in zip(names, specialists, strict=True):
            if specialist.model is model:
                begins.setdefault(specialist.instruction_tokens, []).append(name)
        if model.base.kind == "decoder" and sum(map(len, begins.values())) > 1:
            if model.readings is None:
                reason = model.one_cut_only or "its layers keep a running state"
                yield f"The base reads each question once for each specialist: {reason}."
            elif len(begins) > 1:
                apart = "; ".join(", ".join(group) for group in begins.values())
                yield (
                    "The base reads each question once for each instruction, and these have different ones: "
                    f"{apart}. Specialists that are trained with the same instruction, or with none "
                    '(--instruction ""), share it.'
                )


def source(card: Card, path: Path | str | None = None, **settings: Any) -> Source:
    """What is to be asked, read as the examples of a specialist were, except for `settings` of the recipe.

    `Source.asked` gives its rows. Encoding, delimiter and sheet of the examples hold where the new source
    does not contradict them.

    Raises:
        SettingError: a setting does not fit.
    """
    own = {name: value for name, value in card.recipe.items() if name not in _NOT_THE_SOURCE}
    own |= {"prompt": own.get("prompt", "prompt"), "answer": own.get("answer", "answer")}
    limits = {**_mapping(own.get("limits")), **_mapping(settings.get("limits"))}
    return replace(source_of(path, **{**own, **settings, "limits": limits}), usual=_USUAL - settings.keys())


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def open_specialist(
    card: Card, home: Path, out_of_scope: Outside | None = None, onto: SplitModel | None = None
) -> Answering:
    """Load a specialist, and give what answers; for `onto` see `loaded`, for what it raises `answer`."""
    return _answering(loaded(card, home, onto), card, home, out_of_scope)


def _answering(
    specialist: Specialist, card: Card, home: Path, out_of_scope: Outside | None = None
) -> Answering:
    parts = opened(specialist, card, home, out_of_scope)
    return parts.around(FittingAnswers(parts.answers, specialist, card.longest))


@dataclass(frozen=True)
class OpenSpecialist:
    """A specialist in memory, and what happens to a question before it and to an answer after it."""

    specialist: Specialist
    card: Card
    answers: Answering
    """With its own tail; a question that is too long raises."""
    redaction: "RedactedAnswers"
    review: ReviewedAnswers | None
    """None where no answer is sent to a person by its label or level."""
    outside: Outside

    def around(self, speak: Answering) -> Answering:
        """What the specialist says if `speak` answers for it: hidden, judged, in scope or not."""
        if self.review is not None:
            speak = replace(self.review, speak=speak)
        if self.specialist.scope is not None:
            others = _elsewhere(self.specialist, self.outside, self.card.longest)
            speak = ScopedAnswers(speak, self.specialist.scope, others)
        return replace(self.redaction, speak=speak)


def opened(
    specialist: Specialist, card: Card, home: Path, out_of_scope: Outside | None = None
) -> OpenSpecialist:
    """What stands around a specialist that is loaded, when it is asked."""
    answers = specialist.answering(card.longest)
    judged = bool(card.contract.rare or card.contract.levels)
    known = card.system or card.instruction
    return OpenSpecialist(
        specialist,
        card,
        answers,
        RedactedAnswers(answers, Questions(_rules(card, home)), card.task, card.system, known),
        ReviewedAnswers(answers, card.contract, card.certain) if judged else None,
        out_of_scope or _out_of_scope(card),
    )


def loaded(
    card: Card, home: Path, onto: SplitModel | None = None, *, only_answers: bool = False
) -> Specialist:
    """A specialist as training left it: tail, instruction, contract and scope.

    It is put `onto` the model of a specialist that is open, if that holds the same base in the same number
    format, so that no second base is loaded; else its base is loaded. One that `only_answers` holds no weight
    twice, and cannot be trained on. For what it raises see `answer`.

    What it is asked is not redacted: it answers examples that were redacted before they were stored.
    """
    Store(home).verify(card)
    dtype, stored = _dtype(card.dtype), weights.read(card.folder / cards.TAIL)
    depths, state = (card.tail_layers, card.rank, 0), stored if only_answers else None
    if onto is not None and fits(onto, card):
        specialist = Specialist(onto, card.contract, *depths, card.prompt_layers, state)
    else:
        base = _base_of(card, home)
        specialist = new_specialist(
            base, card.contract, *depths, dtype, prompt_layers=card.prompt_layers, state=state
        )
    if not only_answers:
        weights.restore(specialist.tail, stored)
    specialist.set_instruction(card.instruction)
    specialist.scope, specialist.thresholds = scope_of(card), card.thresholds
    return specialist


def fits(model: SplitModel, card: Card) -> bool:
    """Whether a specialist can be put on a base that is in memory: the same weights in the same format."""
    same = (model.base.sha256, model.dtype) == (card.base_sha256, _dtype(card.dtype))
    return same and card.base_as_trained(model.base) == model.base


def _base_of(card: Card, home: Path) -> Base:
    base = open_base(card.base, home)
    if base.sha256 != card.base_sha256:
        raise BaseModelError(
            f"{card.name} was trained from another {card.base}: its weights' SHA-256 was "
            f"{card.base_sha256[:16]}…, that of the one here is {base.sha256[:16]}….",
            "Bring back the base it was trained from, or train it again from the one here.",
        )
    return card.base_as_trained(base)


def scope_of(card: Card) -> Scope | None:
    """By what a specialist, whose files were verified, tells what is not its job; None if it learned none."""
    return scopes.read(card.folder / cards.SCOPE) if card.scope_sha256 else None


def _out_of_scope(card: Card) -> Outside:
    return ScopeSettings.model_validate(_mapping(card.recipe.get("scope"))).out_of_scope


def _elsewhere(specialist: Specialist, out_of_scope: Outside, longest: int) -> Answering | None:
    """Who answers what is out of scope; None if the specialist does. An encoder's base has nothing to say."""
    if out_of_scope == "mark":
        return None
    if out_of_scope != "base" or specialist.base.kind == "encoder":
        return no_answers
    base, most = specialist.without_instruction(), max(longest, _OUT_OF_SCOPE_TOKENS)
    return FittingAnswers(by_base(base.base_model(most)), base, most)


@dataclass(frozen=True)
class FittingAnswers:
    """Answers what the base reads; of a question that is longer it says so."""

    speak: Answering
    specialist: Specialist
    longest: int
    """Tokens that an answer may have."""

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Answer what fits; what does not is answered by nobody, with a note that says why."""
        short: list[int] = []
        for number, question in enumerate(questions):
            try:
                self._check(question)
            except DataError as error:
                yield number, answering.unanswered(f"{error.problem} {error.remedy}")
            else:
                short.append(number)
        for place, reply in self.speak([questions[number] for number in short]):
            yield short[place], reply

    def _check(self, question: Question) -> None:
        written = self.longest if self.specialist.base.kind == "decoder" else 0
        tokens = self.specialist.count_tokens(Example(question, "")) + written
        answering.check_fits(question, tokens, self.specialist.base.context)


@dataclass(frozen=True)
class HiddenQuestion:
    """A question as the specialist may see it."""

    turns: Question
    values: ReIdentifier
    """What was hidden of it."""
    other_system: bool
    """Whether it begins with another system message than all examples did."""


@dataclass(frozen=True)
class RedactedAnswers:
    """Hides from a specialist what training hid from it, and puts back what a question brought along."""

    speak: Answering
    questions: Questions
    task: Task
    system: str
    """The system message that stood before all examples and was taken off them; may be empty."""
    known: str
    """The same, or the instruction."""

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        hidden = self.hidden(questions)
        for number, answer in self.speak([question.turns for question in hidden]):
            yield number, self.restored(hidden[number], answer)

    def hidden(self, questions: Sequence[Question]) -> list[HiddenQuestion]:
        """What the specialist is asked in place of each question."""
        hidden = []
        for question, values in self.questions.hidden(questions):
            plain = instruction.without_system(question, self.known)
            other = bool(self.system) and plain[0].role == "system"
            hidden.append(HiddenQuestion(plain, values, other))
        return hidden

    def restored(self, question: HiddenQuestion, answer: Answer) -> Answer:
        """What the person who asked gets for the answer to `question`."""
        shown, notes = question.values.text, answer.notes
        if answer.by == "specialist" and self.task == "json" and parse_record(answer.text) is None:
            notes = (*notes, NO_RECORD)
        if question.other_system:
            notes = (*notes, OTHER_SYSTEM)
        return replace(answer, text=shown(answer.text), notes=tuple(map(shown, notes)))


OTHER_SYSTEM = "It begins with another system message than all examples did, and is read as it stands."


def _rules(card: Card, home: Path) -> policy.Rules:
    """What was hidden in training, with its key and its pseudonyms, or a new key if the old one was not kept.

    With another key the pseudonyms are other ones, of the same shapes; the specialist then does not
    recognise a person whom it knows from training by a pseudonym.
    """
    hidden = card.hidden
    names = Path(hidden.names) if hidden.names else None
    file = KeyFile(Path(hidden.key_file)) if hidden.key_file else None
    if file is None or not file.path.is_file():
        return policy.Rules(hidden.policy, hidden.patterns, names, secrets.token_bytes(KEY_BYTES))
    key = file.read()
    return policy.Rules(hidden.policy, hidden.patterns, names, key, PseudonymMap(home, key).known())


def _dtype(dtype: str) -> torch.dtype:
    """The format it was measured in; float32 where bfloat16 is not native and would crawl."""
    hardware.use_device()
    use_threads(None)
    if dtype == "bfloat16" and has_bfloat16():
        return torch.bfloat16
    return torch.float32
