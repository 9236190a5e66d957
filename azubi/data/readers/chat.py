"""Conversations in the layouts that others publish, as turns. Knows nothing of files."""

from collections.abc import Mapping, Sequence
from typing import Any

from azubi.data import strict_json
from azubi.data.example import Role, Turn
from azubi.data.readers.row import Unusable, written

_ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), "assistant"),
}

COLUMNS = frozenset(
    (
        *("messages", "conversations", "system", "prompt", "completion"),
        *("instruction", "input", "output", "history"),
    )
)
"""The columns that conversations in these layouts are made of."""

Conversation = tuple[tuple[Turn, ...], str]
"""What was said up to the answer, and the answer; "" where there is none yet."""


def openai(values: Mapping[str, Any], every: bool, asked: bool) -> Conversation:
    """`{"messages": [{"role", "content"}, …]}`; the last message is the answer.

    With `every`, the assistant's earlier messages are learned too, but those with `"weight": 0`. If `asked`,
    the conversation may end with the user's message, which is to be answered.

    Raises:
        Unusable: it is no conversation that ends with an answer.
    """
    return _conversation("messages", ("role", "content"), values, every, asked)


def sharegpt(values: Mapping[str, Any], every: bool, asked: bool) -> Conversation:
    """`{"conversations": [{"from": "human", "value": …}, {"from": "gpt", …}]}`; see `openai`."""
    return _conversation("conversations", ("from", "value"), values, every, asked)


def completion(values: Mapping[str, Any], every: bool, asked: bool) -> Conversation:
    """`{"prompt", "completion"}`, each a text or a list of messages; see `openai`."""
    prompt, answer = values["prompt"], values.get("completion")
    if not isinstance(prompt, list):
        return (Turn("user", written(prompt)),), written(answer)
    if not isinstance(answer, list):
        answer = [] if answer is None and asked else [{"role": "assistant", "content": answer}]
    return openai({"messages": [*prompt, *answer]}, every, asked)


def alpaca(values: Mapping[str, Any], every: bool, asked: bool) -> Conversation:
    """`{"instruction", "output"}`, perhaps with `input`, `system`, `history`; `asked` needs no output."""
    parts = [text for name in ("instruction", "input") if (text := written(values.get(name))).strip()]
    turns = _system(values)
    history = values.get("history") or []
    if not isinstance(history, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in history
    ):
        raise Unusable("“history” is not a list of pairs of question and answer")
    for question, answer in history:
        turns += [Turn("user", written(question)), Turn("assistant", written(answer), learned=every)]
    return (*turns, Turn("user", "\n\n".join(parts))), written(values.get("output"))


def is_conversation(value: object) -> bool:
    """Whether a value is a list of messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(message, Mapping) for message in value)
        and "role" in value[0]
    )


def _conversation(
    column: str, names: tuple[str, str], values: Mapping[str, Any], every: bool, asked: bool
) -> Conversation:
    messages = values[column]
    if not isinstance(messages, list) or not messages:
        raise Unusable(f"“{column}” is not a list with messages in it")
    turns = [_turn(index, message, names, every) for index, message in enumerate(messages, start=1)]
    if turns[0].role != "system":
        turns = _system(values) + turns
    if asked and turns[-1].role == "user":
        return tuple(turns), ""
    if turns[-1].role != "assistant":
        raise Unusable(f"the conversation ends with a message of the {turns[-1].role}, not with an answer")
    if len(turns) < 2 or turns[-2].role != "user":
        raise Unusable("no message of the user stands before the answer")
    if not asked and messages[-1].get("weight") == 0:
        raise Unusable("the answer has the weight 0")
    return tuple(turns[:-1]), turns[-1].content


def _system(values: Mapping[str, Any]) -> list[Turn]:
    system = values.get("system")
    return [Turn("system", system)] if isinstance(system, str) and system.strip() else []


def _turn(index: int, message: object, names: tuple[str, str], every: bool) -> Turn:
    if not isinstance(message, Mapping):
        raise Unusable(f"message {index} has the role null, since it is no object")
    role_name, content_name = names if names[0] in message else ("role", "content")
    name = message.get(role_name)
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise Unusable(
            f"message {index} has the role {strict_json.write(name, default=str)[:60]}; it must be system, "
            "user or assistant, since tool messages cannot be learned from"
        )
    if message.get("tool_calls") or message.get("function_call"):
        raise Unusable(f"message {index} calls a tool, which cannot be learned from")
    learned = every and role == "assistant" and message.get("weight", 1) != 0
    return Turn(role, _content(index, message.get(content_name)), learned)


def _content(index: int, content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, Sequence) and not isinstance(content, bytes):
        return "".join(_part(index, part) for part in content)
    raise Unusable(f"the content of message {index} is not text")


def _part(index: int, part: object) -> str:
    if isinstance(part, Mapping) and isinstance(text := part.get("text"), str):
        return text
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise Unusable(f"message {index} holds a part of the kind {str(kind)[:60]!r}, which is not text")
