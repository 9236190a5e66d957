"""One question on its way: what a model is asked, and what becomes of what it says.

It does for one question, a token at a time, what `ask` does for many at once. Knows nothing of threads, nor
of when its turn comes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from azubi.engine.inference import answering
from azubi.engine.inference.answering import OUT_OF_SCOPE, Answer, WrittenAnswers
from azubi.engine.inference.sampling import PartialAnswer, Sampler, TokenChance
from azubi.engine.inference.scheduler import WritingTask
from azubi.errors import ContextTooLong
from azubi.pipeline.inquiry import AnswerStream, Finished, Inquiry, Piece, TokenScore
from azubi.pipeline.residents import Resident

_OTHERS_TOKENS = 256
"""Tokens that the base may write on what is out of scope."""
Reason = Literal["stop", "length"]


class Reply:
    """A question that a resident answers, and the stream of whoever asked."""

    def __init__(
        self,
        inquiry: Inquiry,
        resident: Resident,
        stream: AnswerStream,
        ask_base: Callable[["Reply", Answer], None],
    ) -> None:
        """Prepare the question; `ask_base` is called where the base is to answer what is out of scope.

        Raises:
            ContextTooLong: the base cannot read it.
            DataError, SettingError: it cannot be asked so.
        """
        self.inquiry, self.resident, self.stream = inquiry, resident, stream
        self._ask_base, asked, answers = ask_base, resident.asked, resident.answers
        self._hidden = asked.redaction.hidden([inquiry.turns])[0] if asked else None
        self.question = self._hidden.turns if self._hidden else inquiry.turns
        wanted = inquiry.most_tokens or resident.longest
        self.writes = isinstance(answers, WrittenAnswers) and answers.labels is None
        """Whether the answer is written; else it is a label, which is chosen."""
        if isinstance(answers, WrittenAnswers):
            self.prompt = answers.prompt(self.question, min(wanted, resident.least))
            wanted = min(wanted, answers.room(self.prompt))
        else:
            self.prompt = answers.prompt(self.question)
        self._longest, self._known = wanted, 0
        if inquiry.schema is not None and not self.writes:
            raise answering.no_schema()

    @property
    def _sent_at_once(self) -> bool:
        """Whether the text is sent when it is whole: where it may yet be changed, or given by another."""
        asked, contract = self.resident.asked, self.resident.specialist.contract
        if asked is None or self._hidden is None:
            return False
        held_back = self.resident.specialist.scope is not None and asked.outside != "mark"
        return bool(held_back or contract.derived or contract.multi or self._hidden.values.changes)

    def task(self) -> WritingTask:
        """The answer as it is to be written."""
        answers = self.resident.answers
        assert isinstance(answers, WrittenAnswers)
        row = self._row(answers, self._longest)
        text = answers.written(row, self.inquiry.stop)
        at_once = self._sent_at_once

        def heard() -> None:
            text.read()
            row.dropped = row.dropped or self.stream.cancelled
            if not at_once and not row.over:
                self._put(*text.piece(last=False))

        def ended() -> None:
            answer = answers.answer(row.completion(), self.prompt, text.text if text.stopped else None)
            last, chances = text.piece(last=True)
            if not at_once:
                self._put(last, chances)
            cut = not row.done and not text.stopped
            self._judge(answer, "length" if cut else "stop", chances if at_once else None)

        return WritingTask(
            self.prompt, row, heard, ended, self.stream.fail, self.inquiry.reader, self.count_known
        )

    def base_task(self, base: Resident, outside: Answer) -> WritingTask | None:
        """What the base says to a question that is out of scope; None if it cannot read it."""
        answers, longest = base.answers, max(self.resident.longest, _OTHERS_TOKENS)
        assert isinstance(answers, WrittenAnswers)
        try:
            prompt = answers.prompt(self.question, longest)
        except ContextTooLong as error:
            self._elsewhere(answering.unanswered(f"{error.problem} {error.remedy}"), outside)
            return None
        row = self._row(answers, longest)

        def heard() -> None:
            row.dropped = self.stream.cancelled

        def ended() -> None:
            answer = replace(answers.answer(row.completion(), prompt), by="base")
            self._elsewhere(answer, outside, "stop" if row.done else "length", row.chances)

        return WritingTask(prompt, row, heard, ended, self.stream.fail, self.inquiry.reader)

    def count_known(self) -> None:
        """Note how much of the question need not be read; called when it is about to be."""
        if isinstance(self.resident.answers, WrittenAnswers):
            generator = self.resident.answers.generator
            self._known = generator.known_tokens(self.prompt, self.inquiry.reader)

    def chosen(self, answer: Answer) -> None:
        """Give the label that was chosen."""
        self._judge(answer, "stop", ())

    def _row(self, answers: WrittenAnswers, longest: int) -> PartialAnswer:
        inquiry = self.inquiry
        row = answers.begin(longest, inquiry.schema)
        row.alternatives = inquiry.top_logprobs
        if inquiry.temperature > 0:
            row.sampler = Sampler(inquiry.temperature, inquiry.top_p, inquiry.seed)
        return row

    def _judge(self, answer: Answer, reason: Reason, chances: Sequence[TokenChance] | None) -> None:
        """What to do about the specialist's answer; without `chances` its text was sent already."""
        asked, scope = self.resident.asked, self.resident.specialist.scope
        if asked is None:
            self._finish(replace(answer, by="base"), reason, chances)
            return
        if asked.review is not None:
            answer = asked.review.judged(answer)
        if scope is not None:
            answer = answering.scored(answer, scope)
        if answer.in_scope is not False or asked.outside == "mark":
            self._finish(answer, reason, chances)
        elif asked.outside == "base" and self.resident.specialist.base.kind == "decoder":
            self._ask_base(self, answer)
        else:
            self._elsewhere(Answer("", 0.0, by="nobody"), answer)

    def _elsewhere(
        self,
        other: Answer,
        outside: Answer,
        reason: Reason = "stop",
        chances: Sequence[TokenChance] = (),
    ) -> None:
        notes = (*other.notes, OUT_OF_SCOPE)
        self._finish(replace(other, notes=notes, scope=outside.scope, in_scope=False), reason, chances)

    def _finish(self, answer: Answer, reason: Reason, chances: Sequence[TokenChance] | None) -> None:
        resident = self.resident
        if resident.asked is not None and self._hidden is not None:
            answer = resident.asked.redaction.restored(self._hidden, answer)
        if chances is not None:
            scores = self._label_scores(answer) if not self.writes else self._scores(chances)
            self.stream.put(Piece(answer.text, scores))
        read = len(resident.specialist.instruction_tokens) + len(self.prompt)
        self.stream.put(Finished(answer, reason, read, self._known, answer.wrote, resident.name))

    def _put(self, text: str, chances: Sequence[TokenChance]) -> None:
        if text or chances:
            self.stream.put(Piece(text, self._scores(chances)))

    def _scores(self, chances: Sequence[TokenChance]) -> tuple[TokenScore, ...]:
        answers = self.resident.answers
        assert isinstance(answers, WrittenAnswers)
        spelled = answers.token_bytes

        def text_of(token: int) -> tuple[str, bytes]:
            letters = spelled(token)
            return letters.decode(errors="replace"), letters

        return tuple(
            TokenScore(
                *text_of(chance.token),
                chance.log_probability,
                tuple((*text_of(token), value) for token, value in chance.alternatives),
            )
            for chance in chances
        )

    def _label_scores(self, answer: Answer) -> tuple[TokenScore, ...]:
        """The label with the probability that the model gives it, and the likeliest labels."""
        most = self.inquiry.top_logprobs
        if most is None or answer.by != "specialist":
            return ()
        chances = answer.probabilities.tolist() if answer.probabilities is not None else []
        labels = zip(self.resident.specialist.contract.labels, chances, strict=bool(chances))
        likeliest = sorted(labels, key=lambda pair: -pair[1])[:most]
        others = tuple((label, label.encode(), _log(chance)) for label, chance in likeliest)
        return (TokenScore(answer.text, answer.text.encode(), _log(answer.confidence), others),)


def chosen(replies: Sequence[Reply]) -> list[Answer]:
    """The labels that one resident chooses for several questions, in their order."""
    if not replies:
        return []
    answers, prompts = replies[0].resident.answers, [reply.prompt for reply in replies]
    if isinstance(answers, WrittenAnswers):
        for reply in replies:
            reply.count_known()
        whole = any(reply.inquiry.top_logprobs is not None for reply in replies)
        pairs = answers.choose(prompts, whole, [reply.inquiry.reader for reply in replies])
    else:
        pairs = answers.choose(prompts, [reply.question for reply in replies])
    return [answer for _, answer in sorted(pairs, key=lambda pair: pair[0])]


def _log(chance: float) -> float:
    return math.log(max(chance, 1e-300))
