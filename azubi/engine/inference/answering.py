"""Questions as text in, answers as text out, under an answer contract.

Evaluation and `azubi ask` both ask through here, so that what is measured is what is served.
Knows templates and contracts; nothing of training or of how right an answer is.
"""

import copy
import json
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
    ANY_WHITESPACE,
    Constraint,
    DraftFromGrammar,
    RecordGuard,
    SchemaConstraints,
    schema_constraints,
    token_bytes,
)
from azubi.engine.inference.generation import Generator
from azubi.engine.inference.labels import Choice, Classifier, Completion, LabelTree, LabelTrie, Tokens, Vector
from azubi.engine.inference.sampling import PartialAnswer
from azubi.engine.inference.scope import Scope
from azubi.engine.inference.written_text import WrittenText
from azubi.engine.model import label_sets
from azubi.errors import ContextTooLong, SettingError

Question = tuple[Turn, ...]
_SCHEMAS = 16
"""Schemas of questions whose grammars are kept."""
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
        self._given: dict[str, SchemaConstraints] = {}
        """Schemas that came with questions."""

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        if self.labels is not None:
            yield from self.choose([self.prompt(question) for question in questions])
            return
        constraint = self.constraint
        # The grammar takes half a second to compile, and answers that are written side by side gain nothing.
        if self._drafts and len(questions) == 1 and (begin := self._schema.begin) is not None:
            constraint = lambda: DraftFromGrammar(begin())  # noqa: E731
        yield from self.under(questions, constraint)

    @cached_property
    def _schema(self) -> SchemaConstraints:
        return self._constraints(self._contract, self._like)

    def under(
        self, questions: Sequence[Question], constraint: Callable[[], Constraint] | None
    ) -> Iterator[tuple[int, Answer]]:
        """The same with another constraint on each answer, such as one that observes it."""
        prompts = [self.prompt(question) for question in questions]
        for number, done in self.generator.write(prompts, self._longest, constraint):
            yield number, self.answer(done, prompts[number])

    def choose(
        self, prompts: Sequence[Tokens], whole: bool = False, readers: Sequence[str] = ()
    ) -> Iterator[tuple[int, Answer]]:
        """Answer each of `prompts` with a label; `whole` gives the probabilities of all labels.

        For `readers` see `Network.batch`. Yields (number of the prompt, answer) as they are done.
        """
        assert self.labels is not None
        labels = copy.copy(self.labels)
        labels.whole = whole or labels.whole
        for number, done in self.generator.choose(prompts, labels, readers):
            yield number, self.answer(done, prompts[number])

    def prompt(self, question: Question, longest: int | None = None) -> Tokens:
        """The token ids of a question behind the instruction.

        Raises:
            ContextTooLong: the base cannot read it with an answer of `longest` tokens, or the most there are.
        """
        encoded = self._template.encode(self._instruction, question)
        check_fits(question, len(encoded) + (self._longest if longest is None else longest), self._context)
        return encoded.prompt_ids

    def room(self, prompt: Tokens) -> int:
        """How many tokens the base can write behind a prompt."""
        return self._context - len(self._template.instruction_ids(self._instruction)) - len(prompt)

    def begin(self, longest: int, schema: Mapping[str, Any] | None = None) -> PartialAnswer:
        """An answer of at most `longest` tokens to be written; it follows the contract, or `schema` if given.

        Unlike an answer that is written by `__call__`, a record always has the form of its contract: where
        the model would leave it, the likeliest token takes its place that does not.

        Raises:
            SettingError: answers cannot be kept to `schema`.
        """
        row = PartialAnswer(longest, self.generator.end)
        if schema is not None and (schema or self._contract.task != "json"):
            row.constraint = self._following(schema)
        elif self.constraint is not None:
            row.constraint = self.constraint()
        elif self._contract.task == "json" and self._any_whitespace.begin and self._schema.begin:
            row.constraint = RecordGuard(self._any_whitespace.begin(), self._schema.begin())
        return row

    def written(self, row: PartialAnswer, stop: Sequence[str] = ()) -> WrittenText:
        """The text of an answer that was begun, up to one of `stop`."""
        return WrittenText(self._template, row, stop)

    def token_bytes(self, token: int) -> bytes:
        """What a token stands for, which may be a part of a letter."""
        return token_bytes(self._tokenizer, self._template, token)

    def answer(self, done: Completion, prompt: Tokens, text: str | None = None) -> Answer:
        """The answer that the tokens say, derived fields included; `text` is what is left of it."""
        text = self._template.decode(done.tokens) if text is None else text
        if self._contract.multi and (given := parse_labels(text)) is not None:
            text = written_labels(given)
        answer = Answer(
            text,
            done.confidence,
            vector=done.vector,
            evidence=_evidence(done),
            probabilities=done.probabilities,
            read=len(prompt),
            wrote=len(done.tokens),
        )
        return answer if self._derivation is None else completed(answer, self._contract, self._derivation)

    @cached_property
    def _any_whitespace(self) -> SchemaConstraints:
        return self._constraints(self._contract, ANY_WHITESPACE)

    def _constraints(self, contract: Contract, like: str) -> SchemaConstraints:
        vocabulary = self.generator.vocabulary
        return schema_constraints(contract, self._tokenizer, self._template, vocabulary, like)

    def _following(self, schema: Mapping[str, Any]) -> Constraint:
        """What keeps an answer to a schema that comes with a question; {} is any object."""
        if self._contract.task == "labels":
            raise no_schema()
        text = json.dumps(schema or {"type": "object"}, sort_keys=True)
        if text not in self._given:
            fields = tuple(schema.get("properties", ()))
            asked = Contract(
                task="json",
                fields=fields,
                derived=self._contract.derived,
                json_schema=dict(schema) or {"type": "object"},
            )
            like = ANY_WHITESPACE if self._contract.task == "json" else ""
            self._given[text] = self._constraints(asked, like)
            if len(self._given) > _SCHEMAS:
                self._given.pop(next(iter(self._given)))
        begin, note = self._given[text].begin, self._given[text].note
        if begin is None or note:
            raise SettingError(note, "Give a simpler JSON schema.")
        return RecordGuard(begin(), begin())


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
        yield from self.choose([self.prompt(question) for question in questions], questions)

    def prompt(self, question: Question) -> Tokens:
        """The token ids of a question; raises ContextTooLong if the base cannot read them."""
        tokens = encode_plain(self._tokenizer, question, self._prefix)
        check_fits(question, len(tokens), self._context)
        return tokens

    def choose(
        self, prompts: Sequence[Tokens], questions: Sequence[Question]
    ) -> Iterator[tuple[int, Answer]]:
        """Answer `questions`, whose token ids are `prompts`; yields (number, answer) as they are done."""
        texts = [Example(question, "").prompt for question in questions]
        for number, choice in self._classifier.choose(prompts, texts):
            said, confidence = self._said(choice)
            yield (
                number,
                Answer(
                    said,
                    confidence,
                    vector=choice.vector,
                    evidence=choice.energy,
                    probabilities=choice.probabilities,
                    read=len(prompts[number]),
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
            known = scored(answer, self._scope)
            if known.in_scope is False and self._elsewhere is not None:
                outside[number] = known
            else:
                yield number, known
        if outside and self._elsewhere is not None:
            numbers = list(outside)
            for place, other in self._elsewhere([questions[number] for number in numbers]):
                score, notes = outside[numbers[place]].scope, (*other.notes, OUT_OF_SCOPE)
                yield numbers[place], replace(other, notes=notes, scope=score, in_scope=False)


def scored(answer: Answer, scope: Scope) -> Answer:
    """The answer with the score of its question; with a note if that is out of scope."""
    if answer.vector is None:
        return answer
    score = scope.score(answer.vector, answer.evidence)
    in_scope = score >= scope.limit
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


def no_schema() -> SettingError:
    """What is said to a schema that comes with a question whose answers are labels."""
    return SettingError("The answers are labels, which follow no JSON schema.", "Leave the schema out.")


def check_fits(question: Question, tokens: int, context: int) -> None:
    """Raise ContextTooLong if a question, with room for its answer, is longer than the base reads."""
    if tokens > context:
        start = question[-1].content[:60]
        raise ContextTooLong(
            f"The question that begins {start!r} takes {tokens:,} tokens with its answer, "
            f"but the base reads at most {context:,}.",
            "Shorten the question, or train from a base that reads more.",
        )
