"""An OpenAI-compatible endpoint: the company's larger model, or anybody's.

Speaks `/chat/completions` and `/models`. Waits and tries again where the endpoint is busy or fails for the
moment; says what is wrong where it refuses. The key comes from the environment, is sent to this endpoint
alone and stands in no message. Knows HTTP; nothing of examples or contracts.
"""

import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from azubi.errors import RunError, SettingError

KEYS = ("AZUBI_AGAINST_KEY", "OPENAI_API_KEY")
"""Names in the environment under which the key is looked for, in this order."""
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_TRIES = 6
_LONGEST_WAIT = 60.0


class Refused(SettingError):
    """The endpoint does not take what was asked for, and would not another time."""


class EndpointError(RunError):
    """The endpoint cannot be reached, stays busy, or answers what is no answer."""


@dataclass(frozen=True)
class Reply:
    """One answer, and how many tokens were counted for it."""

    text: str
    read: int = 0
    wrote: int = 0


class Endpoint:
    """A connection; used by several threads at a time."""

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        key: str | None = None,
        timeout: httpx.Timeout = _TIMEOUT,
        tries: int = _TRIES,
        pause: float = 1.0,
    ) -> None:
        """`url` up to and with `/v1`, or as `URL#model`; `key` is taken from the environment if not given.

        `pause` is the first wait in seconds before another try; it doubles each time.

        Raises:
            SettingError: the address is none.
        """
        plain, _, named_model = url.partition("#")
        _check(plain)
        self.url = plain.rstrip("/").removesuffix("/chat/completions")
        self._model = model or named_model
        secret = (
            key if key is not None else next((os.environ[name] for name in KEYS if os.environ.get(name)), "")
        )
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._has_key = bool(secret)
        self._client = httpx.Client(headers=headers, timeout=timeout, follow_redirects=False)
        self._tries, self._pause = tries, pause

    def __enter__(self) -> "Endpoint":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def model(self) -> str:
        """The model that is asked: the one that was named, or the only one that the endpoint has.

        Raises:
            SettingError: it has several, or none.
        """
        if not self._model:
            reply = self._sent("GET", "/models")
            names = [
                str(entry["id"]) for entry in _listed(reply) if isinstance(entry, dict) and "id" in entry
            ]
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
            EndpointError: it cannot be reached, or what came back is no answer.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": longest,
        }
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": dict(schema)},
            }
        return self._reply(self._sent("POST", "/chat/completions", body))

    def _reply(self, body: Any) -> Reply:
        try:
            content = body["choices"][0]["message"]["content"]
            usage = body.get("usage") or {}
            read, wrote = (int(usage.get(f"{name}_tokens") or 0) for name in ("prompt", "completion"))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise self._strange("has no choices[0].message.content", error) from error
        if content is None:
            return Reply("", read, wrote)
        if not isinstance(content, str):
            raise self._strange("has content that is not text")
        return Reply(content, read, wrote)

    def _sent(self, method: str, path: str, body: Any = None) -> Any:
        """What the endpoint says, tried again as long as it is busy."""
        for tried in range(1, self._tries + 1):
            asked: str | None = None
            try:
                answer = self._client.request(method, self.url + path, json=body)
            except httpx.TimeoutException as error:
                problem: Exception = self._failed("did not answer in time", error)
            except httpx.HTTPError as error:
                problem = self._failed(f"cannot be reached ({type(error).__name__})", error)
            else:
                if answer.is_success:
                    try:
                        return answer.json()
                    except ValueError as error:  # cut short on the way, or another program's page
                        problem = self._strange("is no JSON", error)
                elif answer.status_code not in (408, 409, 425, 429) and answer.status_code < 500:
                    raise self._refused(answer)
                else:
                    problem = EndpointError(
                        f"The endpoint {self.url} is busy or out of order: it answered "
                        f"{answer.status_code} {tried} times.",
                        "Try again later, or see what its log says.",
                    )
                    asked = answer.headers.get("Retry-After")
            if tried < self._tries:
                time.sleep(self._wait(tried, asked))
        raise problem

    def _wait(self, tried: int, retry_after: str | None) -> float:
        """Seconds until the next try: what the endpoint said, or twice as long each time, spread a little."""
        try:
            asked = float(retry_after) if retry_after is not None else 0.0
        except ValueError:  # a date
            asked = 0.0
        usual = self._pause * 2.0 ** (tried - 1) * random.uniform(0.75, 1.25)
        return min(_LONGEST_WAIT, max(asked, usual))

    def _refused(self, answer: httpx.Response) -> SettingError:
        status = answer.status_code
        if status in (401, 403):
            have = "the key in the environment is not accepted" if self._has_key else "it wants a key"
            return SettingError(
                f"The endpoint {self.url} refuses access ({status}): {have}.",
                f"Set {KEYS[0]} in the environment.",
            )
        if status == 404:
            named = f", or knows no model {self._model!r}" if self._model else ""
            return SettingError(
                f"The endpoint {self.url} has no such page ({status}){named}.",
                "Give the address up to and with /v1, and the model as #MODEL behind it.",
            )
        return Refused(
            f"The endpoint {self.url} refuses the request ({status}): {_said(answer)}.",
            "See what it takes, or name another model with #MODEL behind the address.",
        )

    def _failed(self, what: str, error: Exception) -> EndpointError:
        problem = EndpointError(f"The endpoint {self.url} {what}.", "Check that it runs, and its address.")
        problem.__cause__ = error
        return problem

    def _strange(self, what: str, error: Exception | None = None) -> EndpointError:
        problem = EndpointError(
            f"What the endpoint {self.url} answered {what}.",
            "Check that it is OpenAI-compatible, and that the address ends with /v1.",
        )
        problem.__cause__ = error
        return problem


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


def _listed(reply: Any) -> list[Any]:
    listed = reply.get("data") if isinstance(reply, dict) else None
    return listed if isinstance(listed, list) else []


def _said(answer: httpx.Response) -> str:
    """The reason that an endpoint gives, on one line."""
    try:
        reply = answer.json()
        error = reply.get("error", reply)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        text = answer.text
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= 200 else line[:199] + "…"
