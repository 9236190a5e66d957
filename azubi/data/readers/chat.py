"""Conversations in the forms that others publish, as turns. Knows nothing of files."""

from collections.abc import Mapping, Sequence
from typing import Any

from azubi.data import strict_json
from azubi.data.example import Role, Turn
from azubi.data.readers.row import Unusable, written

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}

COLUMNS = frozenset(
    (
        *("messages", "conversations", "system", "prompt", "completion"),
        *("instruction", "input", "output", "history"),
    )
)
"""The columns that conversations in these forms are made of."""

Talk = tuple[tuple[Turn, ...], str]
"""What was said up to the answer, and the answer; "" where there is none yet."""


def openai(values: Mapping[str, Any], every: bool, asked: bool = False) -> Talk:
    """`{"messages": [{"role", "content"}, …]}`; the last message is the answer.

    With `every`, the assistant's earlier messages are learned too, but those with `"weight": 0`. If `asked`,
    the conversation may end with the user's message, which is to be answered.

    Raises:
        Unusable: it is no conversation that ends with an answer.
    """
    return _talk(values["messages"], "messages", ("role", "content"), values, every, asked)


def sharegpt(values: Mapping[str, Any], every: bool, asked: bool = False) -> Talk:
    """`{"conversations": [{"from": "human", "value": …}, {"from": "gpt", …}]}`; see `openai`."""
    return _talk(values["conversations"], "conversations", ("from", "value"), values, every, asked)


def completion(values: Mapping[str, Any], every: bool, asked: bool = False) -> Talk:
    """`{"prompt", "completion"}`, each a text or a list of messages; see `openai`."""
    prompt, answer = values["prompt"], values.get("completion")
    if isinstance(prompt, list) and isinstance(answer, list):
        return openai({"messages": [*prompt, *answer]}, every, asked)
    if isinstance(prompt, list):
        last = [] if answer is None and asked else [{"role": "assistant", "content": answer}]
        return openai({"messages": [*prompt, *last]}, every, asked)
    return (Turn("user", written(prompt)),), written(answer)


def alpaca(values: Mapping[str, Any], every: bool, asked: bool = False) -> Talk:
    """`{"instruction", "output"}`, perhaps with `input`, `system` and `history`; `asked` needs no output."""
    parts = [text for name in ("instruction", "input") if (text := written(values.get(name))).strip()]
    turns = _system(values)
    history = values.get("history") or []
    if not isinstance(history, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in history
    ):
        raise Unusable("“history” is not a list of pairs of question and answer")
    for asked, answered in history:
        turns += [Turn("user", written(asked)), Turn("assistant", written(answered), learned=every)]
    return (*turns, Turn("user", "\n\n".join(parts))), written(values.get("output"))


def is_talk(value: object) -> bool:
    """Whether a value is a list of messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(message, Mapping) for message in value)
        and ("role" in value[0])
    )


def _talk(
    messages: Any, field: str, names: tuple[str, str], values: Mapping[str, Any], every: bool, asked: bool
) -> Talk:
    if not isinstance(messages, list) or not messages:
        raise Unusable(f"“{field}” is not a list with messages in it")
    turns = [_turn(index, message, names, every) for index, message in enumerate(messages, start=1)]
    if turns[0].role != "system":
        turns = _system(values) + turns
    if asked and turns[-1].role == "user":
        return tuple(turns), ""
    if turns[-1].role != "assistant":
        raise Unusable(f"the conversation ends with a message of the {turns[-1].role}, not with an answer")
    if len(turns) < 2 or turns[-2].role != "user":
        raise Unusable("no message of the user stands before the answer")
    if not asked and isinstance(messages[-1], Mapping) and messages[-1].get("weight") == 0:
        raise Unusable("the answer has the weight 0")
    return tuple(turns[:-1]), turns[-1].content


def _system(values: Mapping[str, Any]) -> list[Turn]:
    system = values.get("system")
    return [Turn("system", system)] if isinstance(system, str) and system.strip() else []


def _turn(index: int, message: object, names: tuple[str, str], every: bool) -> Turn:
    if not isinstance(message, Mapping):
        raise Unusable(f"message {index} has the role null, since it is no object")
    mark, body = names if names[0] in message else ("role", "content")
    name = message.get(mark)
    if not isinstance(name, str) or name not in _ROLES:
        shown = strict_json.write(name, default=str)[:60]
        raise Unusable(
            f"message {index} has the role {shown}; it must be system, user or assistant, since tool "
            "messages cannot be learned from"
        )
    role = _ROLES[name]
    if message.get("tool_calls") or message.get("function_call"):
        raise Unusable(f"message {index} calls a tool, which cannot be learned from")
    learned = every and role == "assistant" and message.get("weight", 1) != 0
    return Turn(role, _content(index, message.get(body)), learned)


def _content(index: int, content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and not isinstance(content, bytes):
        return "".join(_part(index, part) for part in content)
    raise Unusable(f"the content of message {index} is not text")


def _part(index: int, part: object) -> str:
    if isinstance(part, Mapping) and isinstance(text := part.get("text"), str):
        return text
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise Unusable(f"message {index} holds a part of the kind {str(kind)[:60]!r}, which is not text")
