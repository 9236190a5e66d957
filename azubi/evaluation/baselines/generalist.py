"""A larger model behind an endpoint, with the company's instruction and the form of the answers described.

In the contract's form it is asked for JSON that obeys the schema; an endpoint that does not know such a thing
is asked without, and that is said. Knows endpoints and contracts; nothing of training.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from azubi.data.chat_template import alternating
from azubi.data.contract import Contract, parse_record
from azubi.data.example import Turn
from azubi.engine.inference.answering import Answer, AnswerMode, Question, in_order
from azubi.engine.inference.constraints import learned_schema
from azubi.evaluation.baselines.endpoint import Endpoint, Refused
from azubi.evaluation.baselines.prompted import described_contract
from azubi.evaluation.baselines.task import EvaluationTask
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell

_TOGETHER = 4
"""Requests that are under way at a time."""
_TRIED = 4
_WORDS = 3
"""Other models may need more tokens for the same answer."""


class Generalist:
    """Any OpenAI-compatible endpoint."""

    who = "generalist"
    shared = 0
    choice: Sequence[Prediction] = ()

    def __init__(self, endpoint: Endpoint, task: EvaluationTask, *, price_per_question: float = 0.0) -> None:
        """Nothing is asked yet."""
        self.pace = 0.0
        self.notes: list[str] = []
        self.modes: tuple[AnswerMode, ...] = (
            ("constrained",) if task.contract.task == "text" else ("constrained", "unconstrained")
        )
        self._endpoint, self._task, self._price = endpoint, task, price_per_question
        self._schema = asked_schema(task.contract)
        self._lock = threading.Lock()
        self._upfront = 0.0
        self.instruction = f"{task.instruction}\n\n{described_contract(task.contract)}".strip()

    def prepare(self, tell: Tell) -> None:
        """Find out whether the endpoint is there, what it takes, and how long it takes.

        Raises:
            SettingError: it refuses access, or there is no such model.
            EndpointError: it cannot be reached.
        """
        begun = time.perf_counter()
        asked = [example.turns for example in self._task.checks[:_TRIED]]
        in_order(self.answer, asked)
        self._upfront = time.perf_counter() - begun
        self.pace = self._upfront / max(1, len(asked))
        tell(1, 1)

    def answer(
        self, questions: Sequence[Question], mode: AnswerMode = "constrained"
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done; no confidence is told."""
        with ThreadPoolExecutor(_TOGETHER) as threads:
            waiting = {
                threads.submit(self._asked, question, mode): number
                for number, question in enumerate(questions)
            }
            try:
                for done in as_completed(waiting):
                    yield waiting[done], done.result()
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def contender(self) -> Contender:
        """Which model it is."""
        return Contender(
            who=self.who,
            says=f"{self._endpoint.model} behind {self._endpoint.url}",
            instruction=self.instruction,
            upfront=self._upfront,
            price_per_question=self._price,
        )

    def _asked(self, question: Question, mode: AnswerMode) -> Answer:
        turns = [Turn("system", self.instruction), *question]
        system, *others = turns
        messages = [{"role": "system", "content": system.content}]
        messages += [{"role": turn.role, "content": turn.content} for turn in alternating(others)]
        schema = self._schema if mode == "constrained" else None
        longest = _WORDS * self._task.longest
        try:
            reply = self._endpoint.chat(messages, longest, schema)
        except Refused as error:
            if schema is None:
                raise
            # Without the schema it may do; if not, the second refusal says so.
            reply = self._endpoint.chat(messages, longest, None)
            with self._lock:
                if self._schema is not None:
                    self._schema = None
                    self.notes.append(
                        "The generalist was asked without a schema, which its endpoint refuses: "
                        f"{error.problem}"
                    )
        text = self._task.completed(
            _read(self._task.contract, reply.text) if mode == "constrained" else reply.text
        )
        return Answer(text, math.nan, read=reply.read, wrote=reply.wrote)


def asked_schema(contract: Contract) -> Mapping[str, Any] | None:
    """What an endpoint is asked to hold answers to; None for free text."""
    if contract.task == "json":
        return {name: part for name, part in learned_schema(contract).items() if name != "$schema"}
    if contract.task == "labels":
        return {
            "type": "object",
            "properties": {"label": {"type": "string", "enum": list(contract.labels)}},
            "required": ["label"],
            "additionalProperties": False,
        }
    return None


def _read(contract: Contract, text: str) -> str:
    """The answer as the contract writes it: the label out of its object."""
    record = parse_record(text) if contract.task == "labels" else None
    label = record.get("label") if record is not None else None
    return label if isinstance(label, str) else text
