"""Questions as text in, answers as text out, under an answer contract.

Evaluation, `azubi ask` and the server ask through here, so that what is measured is what is
served. Knows templates and contracts; nothing of training or of how right an answer is.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal, Protocol

from azubi.data import strict_json
from azubi.data.chat_template import Template, encode_plain
from azubi.data.contract import Contract
from azubi.data.example import Turn
from azubi.data.rules.derivation import Derivation
from azubi.engine.inference.constraints import DraftFromGrammar, held
from azubi.engine.inference.generation import Classifier, Completion, Constraint, Generator, LabelTrie, Vector
from azubi.engine.inference.scope import Scope
from azubi.errors import DataError

Question = tuple[Turn, ...]
AnswerMode = Literal["constrained", "unconstrained"]
"""Whether an answer is constrained to the contract's labels or schema while it is written."""


@dataclass(frozen=True)
class Answer:
    """What a specialist (or the base) says."""

    text: str
    confidence: float
    """Probability that the model itself gives the answer."""
    notes: tuple[str, ...] = ()
    """What the asker should know: that it is out of scope, or why a derived field could not be computed."""
    scope: float | None = None
    """How much the question is like the specialist's job (see `scope`); None where that was not learned."""
    in_scope: bool | None = None
    """Whether it counts as the specialist's job; None where that was not learned."""
    by: Literal["specialist", "base", "nobody"] = "specialist"
    """Who gave the answer, where questions out of scope go elsewhere."""
    vector: Vector | None = field(default=None, repr=False, compare=False)
    """The trunk's activations of the question, averaged, from the pass that answered it."""
    evidence: float = field(default=0.0, repr=False, compare=False)
    """What the tail has to say about whether it is its job: see `azubi.engine.inference.scope`."""
    read: int = 0
    """Tokens that were read for it alone: without the instruction that all questions share."""
    wrote: int = 0
    """Tokens that were written, the one that ends an answer not counted; 0 where a label was chosen."""


class Answering(Protocol):
    """Anything that answers questions."""

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done, not in order."""


class WrittenAnswers:
    """Answers that a decoder writes."""

    def __init__(
        self,
        writer: Generator,
        template: Template,
        instruction: str,
        contract: Contract,
        longest: int,
        context: int,
        mode: AnswerMode | None = None,
        like: str = "",
        tokenizer: Any = None,
    ) -> None:
        """`longest` is the most tokens of an answer, `context` the most that the base reads in all.

        Without a `mode`, labels are held to the contract and records are written freely, since a specialist
        has learned their form: it is only foreseen, where one is written alone, so that names of fields need
        not be written token by token. Holding and foreseeing records takes the base's `tokenizer`; `like` is
        an answer whose whitespace they get. Free text has no form that it could be held to.
        """
        self.writer = writer
        self.note = ""
        """Why records are not held to the whole of their schema; empty if they are, or need not be."""
        self._template = template
        self._instruction = instruction
        self._longest = longest
        self._context = context
        self._begin: Callable[[], Constraint] | None = None
        if contract.task == "labels" and mode != "unconstrained":
            labels = [template.answer_ids(label)[:-1] for label in contract.labels]
            self._begin = lambda: LabelTrie(labels, template.end_id)
        self._holding = partial(held, contract, tokenizer, template, writer.vocabulary, like)
        if contract.task == "json" and mode == "constrained":
            holding = self._holding()
            self._begin, self.note = holding.begin, holding.note
        self._foresees = contract.task == "json" and mode is None

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        alone = self._foresees and len(questions) == 1
        yield from self.watched(questions, self._foreseeing if alone else self.constraint)

    @cached_property
    def _foreseeing(self) -> Callable[[], Constraint] | None:
        """What foresees the form of a record that is written alone.

        It takes half a second to make, and answers that are written side by side gain nothing by it.
        """
        begin = self._holding().begin
        return None if begin is None else lambda: DraftFromGrammar(begin())

    def watched(
        self, questions: Sequence[Question], constraint: Callable[[], Constraint] | None
    ) -> Iterator[tuple[int, Answer]]:
        """The same under another constraint on each answer, such as one that looks on."""
        prompts = [self._tokens(question) for question in questions]
        for number, done in self.writer.write(prompts, self._longest, constraint):
            text = self._template.decode(done.tokens)
            told = Answer(text, done.confidence, vector=done.vector, evidence=_evidence(done))
            yield number, replace(told, read=len(prompts[number]), wrote=len(done.tokens))

    @property
    def constraint(self) -> Callable[[], Constraint] | None:
        """What makes the constraint of one answer; None where it is free."""
        return self._begin

    def _tokens(self, question: Question) -> tuple[int, ...]:
        encoded = self._template.encode(self._instruction, question)
        check_fits(question, len(encoded) + self._longest, self._context)
        return encoded.prompt_ids


class ChosenAnswers:
    """Answers that a label head chooses."""

    def __init__(self, chooser: Classifier, tokenizer: Any, contract: Contract, context: int) -> None:
        """The labels' numbers are their places in the contract."""
        self._chooser = chooser
        self._tokenizer = tokenizer
        self._contract = contract
        self._context = context

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        texts = [encode_plain(self._tokenizer, question) for question in questions]
        for question, text in zip(questions, texts, strict=True):
            check_fits(question, len(text), self._context)
        for number, choice in self._chooser.choose(texts):
            label = self._contract.labels[choice.label]
            told = Answer(label, choice.confidence, vector=choice.vector, evidence=choice.energy)
            yield number, replace(told, read=len(texts[number]))


class CompletedAnswers:
    """Records whose derived fields are computed after the model."""

    def __init__(self, answering: Answering, contract: Contract) -> None:
        """`answering` writes the fields that are learned."""
        self.answering = answering
        self._contract = contract
        self._derivation = Derivation(contract)

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done; what is no record stays as it is."""
        for number, answer in self.answering(questions):
            record = self._contract.parse(answer.text)
            if record is None:
                yield number, answer
            else:
                done = self._derivation.complete(record)
                yield (
                    number,
                    replace(answer, text=strict_json.write(done.record), notes=answer.notes + done.notes),
                )


def completed(answering: Answering, contract: Contract) -> Answering:
    """The same answers, with the contract's derived fields if it has any."""
    return CompletedAnswers(answering, contract) if contract.derived else answering


class ScopedAnswers:
    """Answers with a mark whether the question was the specialist's job; where not, others may answer."""

    def __init__(self, answering: Answering, scope: Scope, elsewhere: Answering | None = None) -> None:
        """`elsewhere` answers what is out of scope, in place of the specialist; None leaves it as it is."""
        self._answering = answering
        self._scope = scope
        self._elsewhere = elsewhere

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        outside: dict[int, Answer] = {}
        for number, answer in self._answering(questions):
            marked = self._marked(answer)
            if marked.in_scope is False and self._elsewhere is not None:
                outside[number] = marked
            else:
                yield number, marked
        if outside and self._elsewhere is not None:
            numbers = list(outside)
            for place, other in self._elsewhere([questions[number] for number in numbers]):
                told, notes = outside[numbers[place]], (*other.notes, OUT_OF_SCOPE)
                yield numbers[place], replace(other, notes=notes, scope=told.scope, in_scope=False)

    def _marked(self, answer: Answer) -> Answer:
        if answer.vector is None:
            return answer
        score = self._scope.score(answer.vector, answer.evidence)
        inside = score >= self._scope.limit
        notes = answer.notes if inside else (*answer.notes, OUT_OF_SCOPE)
        return replace(answer, scope=score, in_scope=inside, notes=notes)


class NoAnswers:
    """Gives questions back to whoever asked."""

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield an empty answer to each."""
        for number in range(len(questions)):
            yield number, Answer("", 0.0, by="nobody")


def unanswered(why: str) -> Answer:
    """What is said to a question that cannot be asked."""
    return Answer("", 0.0, notes=(why,), by="nobody")


class BaseAnswers:
    """What the untouched base answers, told as such."""

    def __init__(self, answering: Answering) -> None:
        """`answering` is the base's own."""
        self._answering = answering

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        for number, answer in self._answering(questions):
            yield number, replace(answer, by="base")


OUT_OF_SCOPE = (
    "This does not look like the work that the specialist was trained for; a few questions of its own work "
    "are marked so, too."
)


def _evidence(done: Completion) -> float:
    """Mean log-probability of the answer's tokens; where nothing else was allowed a token counts as sure."""
    return math.log(max(done.confidence, 1e-300)) / max(1, len(done.tokens))


def in_order(answering: Answering, questions: Sequence[Question]) -> list[Answer]:
    """All answers, in the order of the questions."""
    return [answer for _, answer in sorted(answering(questions), key=lambda pair: pair[0])]


def check_fits(question: Question, tokens: int, context: int) -> None:
    """Raise DataError if a question, with room for its answer, is longer than the base reads."""
    if tokens > context:
        start = question[-1].content[:60]
        raise DataError(
            f"The question that begins {start!r} takes {tokens:,} tokens with its answer, "
            f"but the base reads at most {context:,}.",
            "Shorten the question, or train from a base that reads more.",
        )
