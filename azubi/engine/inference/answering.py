"""Questions as text in, answers as text out, under an answer contract.

Evaluation and `azubi ask` both ask through here, so that what is measured is what is served.
Knows templates and contracts; nothing of training or of how right an answer is.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from azubi.data import strict_json
from azubi.data.chat_template import Template, encode_plain
from azubi.data.contract import Contract, parse_labels, written_labels
from azubi.data.example import Example, Turn
from azubi.data.rules.derivation import Derivation
from azubi.engine.inference.constraints import (
    Constraint,
    DraftFromGrammar,
    SchemaConstraints,
    schema_constraints,
)
from azubi.engine.inference.generation import Generator
from azubi.engine.inference.labels import Choice, Classifier, Completion, LabelTree, LabelTrie, Tokens, Vector
from azubi.engine.inference.scope import Scope
from azubi.engine.model import label_sets
from azubi.errors import ContextTooLong

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
    """What the user should know: that it is out of scope, or why a derived field could not be computed."""
    scope: float | None = None
    """The score of the question (see `scope`); None where no scope was learned."""
    in_scope: bool | None = None
    by: Literal["specialist", "base", "nobody"] = "specialist"
    """Who gave the answer, where questions out of scope go elsewhere."""
    vector: Vector | None = field(default=None, repr=False, compare=False)
    """The trunk's activations of the question, averaged, from the pass that answered it."""
    evidence: float = field(default=0.0, repr=False, compare=False)
    """How sure the tail is that the question is in scope (see `scope`)."""
    review: bool = False
    """Whether a person should see it (see `review`); the notes say why."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """Where labels have levels: the likeliest label at each, from the top, with its probability."""
    probabilities: Vector | None = field(default=None, repr=False, compare=False)
    """[labels]: of every label of the contract, where one was chosen; None where they are not known."""
    read: int = 0
    """Tokens that were read for it alone: without the instruction that all questions share."""
    wrote: int = 0
    """Tokens that were written, without the end token; 0 where a label was chosen."""


Answering = Callable[[Sequence[Question]], Iterator[tuple[int, Answer]]]
"""Answers questions; yields (number of the question, answer) as they are done, not in order."""


class WrittenAnswers:
    """Answers that a decoder writes; derived fields of records are computed afterwards."""

    def __init__(
        self,
        generator: Generator,
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

        Without a `mode`, labels are constrained and records are not, since a specialist has learned their
        form; a record that is written alone is drafted from its schema, so that names of fields need not be
        written token by token. Both need the base's `tokenizer`; `like` is an answer whose whitespace records
        get. Free text cannot be constrained.
        """
        self.generator = generator
        self.note = ""
        """Why records are not constrained to the whole of their schema; empty if they are."""
        self.constraint: Callable[[], Constraint] | None = None
        """Makes the constraint of one answer; None where it is free."""
        self.labels: LabelTree | None = None
        """What an answer is chosen from; None where it is written token by token."""
        self._template, self._instruction, self._contract = template, instruction, contract
        self._longest, self._context = longest, context
        self._tokenizer, self._like = tokenizer, like
        self._derivation = Derivation(contract) if contract.derived else None
        if contract.multi and mode != "unconstrained":
            self.constraint, self.note = self._schema.begin, self._schema.note
        elif contract.task == "labels" and mode != "unconstrained":
            labels = [template.answer_ids(label)[:-1] for label in contract.labels]
            self.constraint = lambda: LabelTrie(labels, template.end_id)
            self.labels = LabelTree(labels, template.end_id)
            self.labels.whole = bool(contract.rare or contract.levels)
        if contract.task == "json" and mode == "constrained":
            self.constraint, self.note = self._schema.begin, self._schema.note
        self._drafts = contract.task == "json" and mode is None

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        if self.labels is not None:
            prompts = [self._tokens(question) for question in questions]
            yield from self._answers(prompts, self.generator.choose(prompts, self.labels))
            return
        constraint = self.constraint
        # The grammar takes half a second to compile, and answers that are written side by side gain nothing.
        if self._drafts and len(questions) == 1 and (begin := self._schema.begin) is not None:
            constraint = lambda: DraftFromGrammar(begin())  # noqa: E731
        yield from self.under(questions, constraint)

    @cached_property
    def _schema(self) -> SchemaConstraints:
        vocabulary = self.generator.vocabulary
        return schema_constraints(self._contract, self._tokenizer, self._template, vocabulary, self._like)

    def under(
        self, questions: Sequence[Question], constraint: Callable[[], Constraint] | None
    ) -> Iterator[tuple[int, Answer]]:
        """The same with another constraint on each answer, such as one that observes it."""
        prompts = [self._tokens(question) for question in questions]
        yield from self._answers(prompts, self.generator.write(prompts, self._longest, constraint))

    def _answers(
        self, prompts: Sequence[Tokens], completions: Iterator[tuple[int, Completion]]
    ) -> Iterator[tuple[int, Answer]]:
        for number, done in completions:
            text = self._template.decode(done.tokens)
            if self._contract.multi and (given := parse_labels(text)) is not None:
                text = written_labels(given)
            answer = Answer(
                text,
                done.confidence,
                vector=done.vector,
                evidence=_evidence(done),
                probabilities=done.probabilities,
                read=len(prompts[number]),
                wrote=len(done.tokens),
            )
            yield (
                number,
                answer if self._derivation is None else completed(answer, self._contract, self._derivation),
            )

    def _tokens(self, question: Question) -> tuple[int, ...]:
        encoded = self._template.encode(self._instruction, question)
        check_fits(question, len(encoded) + self._longest, self._context)
        return encoded.prompt_ids


def completed(answer: Answer, contract: Contract, derivation: Derivation) -> Answer:
    """The answer with its derived fields; unchanged if it is no record."""
    record = contract.parse(answer.text)
    if record is None:
        return answer
    done = derivation.complete(record)
    return replace(answer, text=strict_json.write(done.record), notes=answer.notes + done.notes)


class ChosenAnswers:
    """Answers that a label head chooses."""

    def __init__(
        self,
        classifier: Classifier,
        tokenizer: Any,
        contract: Contract,
        context: int,
        prefix: str,
        thresholds: Sequence[float] = (),
    ) -> None:
        """The labels' numbers are their places in the contract; `prefix` stands before every question.

        Of sets of labels those are given that reach their `thresholds` (half, if there are none).
        """
        self._thresholds = tuple(thresholds) or (label_sets.HALF,) * len(contract.labels)
        self._classifier = classifier
        self._tokenizer, self._prefix = tokenizer, prefix
        self._contract = contract
        self._context = context

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        encoded = [encode_plain(self._tokenizer, question, self._prefix) for question in questions]
        for question, tokens in zip(questions, encoded, strict=True):
            check_fits(question, len(tokens), self._context)
        texts = [Example(question, "").prompt for question in questions]
        for number, choice in self._classifier.choose(encoded, texts):
            said, confidence = self._said(choice)
            yield (
                number,
                Answer(
                    said,
                    confidence,
                    vector=choice.vector,
                    evidence=choice.energy,
                    probabilities=choice.probabilities,
                    read=len(encoded[number]),
                ),
            )

    def _said(self, choice: Choice) -> tuple[str, float]:
        """The label, or the set of labels; and how likely it is, labels taken as independent."""
        labels = self._contract.labels
        if not self._contract.multi or choice.probabilities is None:
            return labels[choice.label], choice.confidence
        chances = choice.probabilities.tolist()
        given = label_sets.chosen(chances, self._thresholds, self._contract.may_be_empty)
        whole = math.prod(chance if n in given else 1 - chance for n, chance in enumerate(chances))
        return written_labels(labels[n] for n in given), whole


class ScopedAnswers:
    """Answers that say whether the question was in scope; where not, others may answer."""

    def __init__(self, answering: Answering, scope: Scope, elsewhere: Answering | None = None) -> None:
        """`elsewhere` answers what is out of scope, in place of the specialist; None keeps the answer."""
        self._answering = answering
        self._scope = scope
        self._elsewhere = elsewhere

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        outside: dict[int, Answer] = {}
        for number, answer in self._answering(questions):
            scored = self.scored(answer)
            if scored.in_scope is False and self._elsewhere is not None:
                outside[number] = scored
            else:
                yield number, scored
        if outside and self._elsewhere is not None:
            numbers = list(outside)
            for place, other in self._elsewhere([questions[number] for number in numbers]):
                score, notes = outside[numbers[place]].scope, (*other.notes, OUT_OF_SCOPE)
                yield numbers[place], replace(other, notes=notes, scope=score, in_scope=False)

    def scored(self, answer: Answer) -> Answer:
        """The answer with the score of its question."""
        if answer.vector is None:
            return answer
        score = self._scope.score(answer.vector, answer.evidence)
        in_scope = score >= self._scope.limit
        notes = answer.notes if in_scope else (*answer.notes, OUT_OF_SCOPE)
        return replace(answer, scope=score, in_scope=in_scope, notes=notes)


def no_answers(questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
    """Yield an empty answer by nobody to each question."""
    for number in range(len(questions)):
        yield number, Answer("", 0.0, by="nobody")


def unanswered(why: str) -> Answer:
    """The answer to a question that cannot be asked."""
    return Answer("", 0.0, notes=(why,), by="nobody")


def by_base(answering: Answering) -> Answering:
    """Mark the answers of the untouched base as such."""

    def marked(questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        for number, answer in answering(questions):
            yield number, replace(answer, by="base")

    return marked


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
    """Raise ContextTooLong if a question, with room for its answer, is longer than the base reads."""
    if tokens > context:
        start = question[-1].content[:60]
        raise ContextTooLong(
            f"The question that begins {start!r} takes {tokens:,} tokens with its answer, "
            f"but the base reads at most {context:,}.",
            "Shorten the question, or train from a base that reads more.",
        )
