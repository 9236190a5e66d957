"""A larger model behind an OpenAI-compatible endpoint, with instruction and contract described.

It is asked for JSON that obeys the contract's schema; an endpoint that refuses schemas is asked without.
The key comes from the environment, is sent to this endpoint alone and stands in no message.
"""

import math
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import httpx

from azubi.data.chat_template import alternating
from azubi.data.contract import Contract, parse_record, written_labels
from azubi.data.example import Turn
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.engine.inference.constraints import learned_schema
from azubi.errors import RunError, SettingError
from azubi.evaluation.baselines.asking import Baseline, EvaluationTask
from azubi.evaluation.baselines.instructed_model import contract_prompts
from azubi.evaluation.prediction import Contender
from azubi.events.events import Step, Work

KEYS = ("AZUBI_AGAINST_KEY", "OPENAI_API_KEY")
"""Names in the environment under which the key is looked for, in this order."""
TIMEOUT = httpx.Timeout(120.0, connect=10.0)
TRIES = 6
FIRST_WAIT = 1.0
"""Seconds before another try; it doubles each time."""
_LONGEST_WAIT = 60.0
_BUSY = (408, 409, 425, 429)
"""Statuses that may be others the next time, as those from 500 on."""
_TOGETHER = 4
"""Requests that are under way at a time."""
_TRIED = 4
"""Validation questions that are asked first."""
_TOKENS = 3
"""Other models may need more tokens for the same answer: so many times the specialist's longest."""


class Refused(SettingError):
    """The endpoint does not take what was asked for, and would not another time."""


class EndpointError(RunError):
    """The endpoint cannot be reached, stays busy, or its answer cannot be read."""


@dataclass(frozen=True)
class Reply:
    """One answer, and how many tokens were counted for it."""

    text: str
    read: int = 0
    wrote: int = 0


class Endpoint:
    """A connection; several threads may use it at a time."""

    def __init__(self, url: str) -> None:
        """`url` up to and with `/v1`, the model as `URL#model` if there are several.

        Raises:
            SettingError: the address is none.
        """
        address, _, self._model = url.partition("#")
        _check(address)
        self.url = address.rstrip("/").removesuffix("/chat/completions")
        key = next((os.environ[name] for name in KEYS if os.environ.get(name)), "")
        self._has_key = bool(key)
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=TIMEOUT, follow_redirects=False
        )

    @property
    def model(self) -> str:
        """The model that is asked: the one that was named, or the only one that the endpoint has.

        Raises:
            SettingError: it has several, or none.
        """
        if not self._model:
            reply = self._request("GET", "/models")
            listed = reply.get("data") if isinstance(reply, dict) else None
            names = [str(entry["id"]) for entry in listed or () if isinstance(entry, dict) and "id" in entry]
            if len(names) != 1:
                shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
                raise SettingError(
                    f"The endpoint {self.url} has {len(names)} models{': ' + shown if shown else ''}.",
                    f"Name one: --against {self.url}#MODEL",
                )
            self._model = names[0]
        return self._model

    def chat(
        self, messages: Sequence[Mapping[str, str]], longest: int, schema: Mapping[str, Any] | None = None
    ) -> Reply:
        """The likeliest answer to a conversation, at most `longest` tokens; JSON by `schema`, if given.

        Raises:
            Refused: the endpoint does not take the request, such as one with a schema.
            EndpointError: it cannot be reached, or its answer cannot be read.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": longest,
        }
        if schema is not None:
            json_schema = {"name": "answer", "schema": dict(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        reply = self._request("POST", "/chat/completions", body)
        try:
            content = reply["choices"][0]["message"]["content"]
            usage = reply.get("usage") or {}
            read, wrote = (int(usage.get(f"{name}_tokens") or 0) for name in ("prompt", "completion"))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise self._unreadable("has no choices[0].message.content") from error
        if not isinstance(content, str | None):
            raise self._unreadable("has content that is not text")
        return Reply(content or "", read, wrote)

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        """The endpoint's JSON; tries again while it is busy or fails for the moment."""
        for tried in range(1, TRIES + 1):
            try:
                answer = self._client.request(method, self.url + path, json=body)
                if answer.is_success:
                    return answer.json()
            except ValueError:  # JSON that was cut short on the way, or another program's page
                problem, wait = self._unreadable("is no JSON"), 0.0
            except httpx.HTTPError as error:
                late = isinstance(error, httpx.TimeoutException)
                what = "did not answer in time" if late else f"cannot be reached ({type(error).__name__})"
                remedy = "Check that it runs, and its address."
                problem, wait = EndpointError(f"The endpoint {self.url} {what}.", remedy), 0.0
            else:
                if answer.status_code not in _BUSY and answer.status_code < 500:
                    raise self._refused(answer)
                problem = EndpointError(
                    f"The endpoint {self.url} is busy or out of order: it answered "
                    f"{answer.status_code} {tried} times.",
                    "Try again later, or see what its log says.",
                )
                wait = _seconds(answer.headers.get("Retry-After", ""))
            if tried < TRIES:
                usual = FIRST_WAIT * 2.0 ** (tried - 1) * random.uniform(0.75, 1.25)
                time.sleep(min(_LONGEST_WAIT, max(wait, usual)))
        raise problem

    def _refused(self, answer: httpx.Response) -> SettingError:
        status = answer.status_code
        if status in (401, 403):
            reason = "the key in the environment is not accepted" if self._has_key else "it wants a key"
            return SettingError(
                f"The endpoint {self.url} refuses access ({status}): {reason}.",
                f"Set {KEYS[0]} in the environment.",
            )
        if status == 404:
            named = f", or knows no model {self._model!r}" if self._model else ""
            return SettingError(
                f"The endpoint {self.url} has no such page ({status}){named}.",
                "Give the address up to and with /v1, and the model as #MODEL behind it.",
            )
        return Refused(
            f"The endpoint {self.url} refuses the request ({status}): {_reason(answer)}.",
            "See what it takes, or name another model with #MODEL behind the address.",
        )

    def _unreadable(self, what: str) -> EndpointError:
        return EndpointError(
            f"What the endpoint {self.url} answered {what}.",
            "Check that it is OpenAI-compatible, and that the address ends with /v1.",
        )


def _check(address: str) -> None:
    """Raise SettingError for what is no address, or holds what should not be seen."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.userinfo or url.query:
        raise SettingError(
            f"The address of the endpoint on {url.host} holds more than a place, and reports show addresses.",
            f"Leave out what stands before @ or behind ?, and set {KEYS[0]} in the environment.",
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingError(
            f"{address!r} is not the address of an endpoint.",
            "Give one such as http://localhost:8000/v1, with #MODEL behind it if there are several.",
        )


def _seconds(retry_after: str) -> float:
    try:
        return float(retry_after)
    except ValueError:  # nothing, or a date
        return 0.0


def _reason(answer: httpx.Response) -> str:
    """Why the endpoint refuses, on one line."""
    try:
        reply = answer.json()
        error = reply.get("error", reply)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        text = answer.text
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= 200 else line[:199] + "…"


def generalist(
    who: str, endpoint: Endpoint, task: EvaluationTask, price_per_question: float = 0.0
) -> Work[Baseline]:
    """Ask a few questions, so that what does not work shows at once.

    Raises:
        SettingError: the endpoint refuses access, or there is no such model.
        EndpointError: it cannot be reached.
    """
    started = time.perf_counter()
    asking = _Asking(endpoint, task)
    list(asking.answer([example.turns for example in task.checks[:_TRIED]], "constrained"))
    yield Step(1, 1)
    return Baseline(
        Contender(
            who=who,
            says=f"{endpoint.model} behind {endpoint.url}",
            instruction=asking.instruction,
            upfront=time.perf_counter() - started,
            price_per_question=price_per_question,
        ),
        asking.answer,
        ("constrained",) if task.contract.task == "text" else ("constrained", "unconstrained"),
        notes=asking.notes,
    )


class _Asking:
    """Asks an endpoint a task's questions, with a schema until it refuses one."""

    def __init__(self, endpoint: Endpoint, task: EvaluationTask) -> None:
        self.instruction = f"{task.instruction}\n\n{contract_prompts(task.contract)[0]}".strip()
        self.notes: list[str] = []
        self._endpoint, self._task = endpoint, task
        self._schema = _schema(task.contract)
        self._lock = threading.Lock()

    def answer(self, questions: Sequence[Question], mode: AnswerMode) -> Iterator[tuple[int, Answer]]:
        with ThreadPoolExecutor(_TOGETHER) as threads:
            waiting = {
                threads.submit(self._answer, question, mode): number
                for number, question in enumerate(questions)
            }
            try:
                for done in as_completed(waiting):
                    yield waiting[done], done.result()
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def _answer(self, question: Question, mode: AnswerMode) -> Answer:
        first, *others = (Turn("system", self.instruction), *question)
        messages = [{"role": turn.role, "content": turn.content} for turn in (first, *alternating(others))]
        longest = _TOKENS * self._task.longest
        schema = self._schema if mode == "constrained" else None
        try:
            reply = self._endpoint.chat(messages, longest, schema)
        except Refused as error:
            if schema is None:
                raise
            reply = self._endpoint.chat(messages, longest)  # without the schema it may do
            self._give_up_schema(error.problem)
        text = reply.text
        if mode == "constrained" and self._task.contract.task == "labels":
            text = _label(text)
        return Answer(self._task.complete(text), math.nan, read=reply.read, wrote=reply.wrote)

    def _give_up_schema(self, problem: str) -> None:
        with self._lock:
            if self._schema is not None:
                self._schema = None
                self.notes.append(
                    f"The generalist was asked without a schema, which its endpoint refuses: {problem}"
                )


def _schema(contract: Contract) -> Mapping[str, Any] | None:
    """What answers shall obey; None for free text."""
    if contract.task == "json":
        return {name: part for name, part in learned_schema(contract).items() if name != "$schema"}
    if contract.task == "labels":
        label = {"type": "string", "enum": list(contract.labels)}
        return {
            "type": "object",
            "properties": {"label": {"type": "array", "items": label} if contract.multi else label},
            "required": ["label"],
            "additionalProperties": False,
        }
    return None


def _label(text: str) -> str:
    """The label out of its JSON object."""
    label = (parse_record(text) or {}).get("label")
    if isinstance(label, list) and all(isinstance(each, str) for each in label):
        return written_labels(label)
    return label if isinstance(label, str) else text
