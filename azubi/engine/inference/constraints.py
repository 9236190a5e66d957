"""What an answer may go on with, and a record's JSON schema as such a constraint.

llguidance (Moskal et al.) keeps the state of an Earley parser over the schema's grammar and computes for each
step which tokens keep the answer valid; so every answer can be parsed and follows the schema, whatever the
weights. Fields stand in the contract's order, whitespace is as the examples write it.

Knows contracts, tokenizers and token ids; nothing of models or of what is asked.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
import torch

from azubi.data.chat_template import Template
from azubi.data.contract import Contract, parse_record
from azubi.data.schema import Schema
from azubi.engine.inference.labels import Tokens

_DATE = (
    r"(?:(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})-"
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
    r"|(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)"
)
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"
FORMATS = {
    "date": f"^{_DATE}$",
    "date-time": rf"^{_DATE}[T ]{_CLOCK}(?::[0-5]\d(?:\.\d{{1,6}})?)?(?:Z|[+-]{_CLOCK})?$",
}
"""These formats as `data.schema` checks them; llguidance's own differ (no time without a zone, a year 0)."""
ANY_WHITESPACE = '{\n"any": 0}'
"""An answer like which others may have any whitespace."""
_MOST_ENDING = 2_000
"""Most tokens that close an answer that was cut; only patterns without an end need more."""


class Constraint(Protocol):
    """Which tokens an answer may go on with."""

    def allowed(self) -> Sequence[int] | torch.Tensor | None:
        """Token ids that may come next, as a tensor where they may be many; None for any."""

    def take(self, token: int) -> None:
        """Go on with `token`."""

    def settled(self) -> Tokens | None:
        """The whole rest of the answer, if nothing is left to choose; else None."""

    def forced(self) -> Tokens:
        """Tokens that are expected next; may be none."""

    def ending(self) -> Tokens:
        """Tokens that make an answer valid that has become too long; may be none."""


@dataclass(frozen=True)
class SchemaConstraints:
    """Constraints that keep records to their schema."""

    begin: "Callable[[], GrammarConstraint] | None"
    """Makes the constraint of one answer; None if there can be none."""
    note: str = ""
    """What the user has to know: that the schema was relaxed, or why there is no constraint."""


def schema_constraints(
    contract: Contract, tokenizer: Any, template: Template, vocabulary: int, like: str = ""
) -> SchemaConstraints:
    """Constraints for a contract's learned fields.

    `vocabulary` is how many tokens the model scores; `like` is an answer whose whitespace is used, that of
    `strict_json.write` if empty. A schema that llguidance does not support is relaxed to its fields and
    their types.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not hasattr(backend, "to_str"):
        return SchemaConstraints(
            None,
            "Answers are not held to the schema: the base's tokenizer is one of Python's "
            f"({type(tokenizer).__name__}), and only those of the tokenizers library can be.",
        )
    try:
        ll_tokenizer = _ll_tokenizer(_serialised(backend), template.end_id)
    except (ValueError, RuntimeError) as error:
        note = f"Answers are not held to the schema: the base's tokenizer is of no known kind ({error})."
        return SchemaConstraints(None, note)
    prefix = _answer_prefix(ll_tokenizer, template)
    whole = learned_schema(contract)
    reason = ""
    for schema in (whole, types_only(whole), _fields_only(contract)):
        grammar = Grammar(
            ll_tokenizer, _compiled(_with_formats(schema), prefix, _whitespace(like)), vocabulary
        )
        fault = grammar.fault()
        if not fault:
            note = f"Answers are held to the types of the fields alone: {reason}." if reason else ""
            return SchemaConstraints(grammar.begin, note)
        reason = reason or f"the schema has what constrained writing does not know ({fault})"
    return SchemaConstraints(None, f"Answers are not held to the schema: {reason}.")


def learned_schema(contract: Contract) -> Schema:
    """The contract's schema for what the model writes: no derived fields, in the order of the examples."""
    schema = dict(contract.json_schema)
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        return schema if schema and not contract.derived else _fields_only(contract)
    names = [name for name in contract.learned if name in properties]
    names += [name for name in properties if name not in names and name not in contract.derived]
    schema["properties"] = {name: properties[name] for name in names}
    schema["required"] = [name for name in schema.get("required", ()) if name in names]
    # Even where a given schema leaves it open: a model that may add fields never ends.
    schema["additionalProperties"] = False
    return schema


def types_only(schema: Any) -> Any:
    """A schema without all that narrows a value further than its type, its choices and its fields."""
    if not isinstance(schema, dict):
        return schema
    kept = {
        name: schema[name]
        for name in ("type", "enum", "const", "required", "$defs", "$ref")
        if name in schema
    }
    for name in ("properties", "$defs"):
        if isinstance(schema.get(name), dict):
            kept[name] = {key: types_only(part) for key, part in schema[name].items()}
    for name in ("items", "additionalProperties"):
        if name in schema:
            kept[name] = types_only(schema[name])
    for name in ("anyOf", "oneOf"):
        if isinstance(schema.get(name), list):
            kept["anyOf"] = [types_only(part) for part in schema[name]]
    return kept


def _with_formats(schema: Any) -> Any:
    """The schema with the formats that azubi knows as patterns."""
    if isinstance(schema, list):
        return [_with_formats(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {name: _with_formats(part) for name, part in schema.items()}
    if schema.get("format") in FORMATS and "pattern" not in schema:
        converted["pattern"] = FORMATS[converted.pop("format")]
    return converted


def _fields_only(contract: Contract) -> Schema:
    fields = list(contract.learned)
    return {
        "type": "object",
        "properties": {name: {} for name in fields},
        "required": fields,
        "additionalProperties": False,
    }


class Grammar:
    """A compiled grammar; begins any number of answers."""

    def __init__(self, tokenizer: Any, grammar: str, vocabulary: int) -> None:
        """`tokenizer` is an LLTokenizer, `grammar` what LLMatcher compiles."""
        from llguidance import LLMatcher

        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self._text = grammar
        self._first = LLMatcher(tokenizer, grammar, log_level=0)

    def fault(self) -> str:
        """Why the grammar cannot be used; empty if it can."""
        from llguidance import LLMatcher

        error, messages = LLMatcher.validate_grammar_with_warnings(self._text, self.tokenizer)
        return str(messages[0]).splitlines()[0].rstrip(".") if error else ""

    def begin(self) -> "GrammarConstraint":
        """The constraint of a new answer; copies of a matcher share what it has compiled."""
        return GrammarConstraint(self, self._first.deep_copy())

    @cached_property
    def enders(self) -> Sequence[np.ndarray]:
        """Which tokens, [vocabulary] each, bring an answer to its end: the first that may come is taken."""
        count = min(self.vocabulary, self.tokenizer.vocab_size)
        texts = [bytes(self.tokenizer.decode_bytes([token])) for token in range(count)]
        return [_made_of(texts, letters) for letters in (b'"]}', b'"]}[{:, ', b"0123456789")]


class GrammarConstraint:
    """The constraint of one answer; see `generation.Constraint`."""

    def __init__(self, grammar: Grammar, matcher: Any) -> None:
        """`matcher` stands at the answer's beginning."""
        self._grammar = grammar
        self._matcher = matcher

    def allowed(self) -> torch.Tensor:
        """Ids of the tokens that may come next."""
        return torch.from_numpy(np.flatnonzero(self._bits()))

    def take(self, token: int) -> None:
        """Go on with `token`, which is one of the allowed."""
        if not self._matcher.consume_token(token):
            raise ValueError(f"the token {token} is not allowed: {self._matcher.get_error()}")

    def admits(self, token: int) -> bool:
        """Whether `token` is one of the allowed."""
        return bool(self._matcher.validate_tokens([token]))

    def settled(self) -> Tokens | None:
        """Nothing more, once the record is closed."""
        return () if self._matcher.is_stopped() else None

    def forced(self) -> Tokens:
        """Names of fields and what stands between them; the rest of a value that only one can still be."""
        return tuple(self._matcher.compute_ff_tokens())

    def ending(self) -> Tokens:
        """The tokens that close the record in a valid way; a value that was not begun is any valid one."""
        return tuple(self._closing())

    def _closing(self) -> Iterator[int]:
        for _ in range(_MOST_ENDING):
            if self._matcher.is_stopped() or self._matcher.is_accepting():
                return
            bits = self._bits()
            few = next((bits & part for part in self._fitting(bits)), bits)
            token = int(np.flatnonzero(few)[0])
            self.take(token)
            yield token

    def _fitting(self, bits: np.ndarray) -> Iterator[np.ndarray]:
        for part in self._grammar.enders:
            if (bits[: len(part)] & part).any():
                yield np.pad(part, (0, len(bits) - len(part)))

    def _bits(self) -> np.ndarray:
        """Which tokens may come next, [vocabulary]."""
        packed = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(packed, bitorder="little")[: self._grammar.vocabulary].astype(bool)


class RecordGuard:
    """Lets a record be written freely as long as it follows its schema, and steps in where it would not.

    So the answer is the one that is written freely, if that is a record of the schema; else the closest.
    """

    def __init__(self, follower: GrammarConstraint, drafts: Constraint) -> None:
        """Both stand at the answer's beginning; `follower` allows any whitespace, `drafts` expects the
        usual."""
        self._follower, self._drafts = follower, DraftFromGrammar(drafts)

    def admits(self, token: int) -> bool:
        """Whether the answer can go on with `token`."""
        return self._follower.admits(token)

    def allowed(self) -> torch.Tensor:
        """Ids of the tokens that may come next."""
        return self._follower.allowed()

    def take(self, token: int) -> None:
        """Go on with `token`, which is one of the allowed."""
        self._follower.take(token)
        self._drafts.take(token)

    def settled(self) -> None:
        """The model ends its answer itself."""

    def forced(self) -> Tokens:
        """What the schema asks for next, written as usual."""
        return self._drafts.forced()

    def ending(self) -> Tokens:
        """An answer that is cut stays as it is."""
        return ()


class DraftFromGrammar:
    """Drafts the next tokens of an answer that is written freely; forbids nothing."""

    def __init__(self, follower: Constraint) -> None:
        """`follower` stands at the answer's beginning."""
        self._follower: Constraint | None = follower

    def allowed(self) -> None:
        """Any token."""

    def take(self, token: int) -> None:
        """Go on with `token`; one that breaks the schema ends the drafts."""
        if self._follower is None or self._follower.settled() is not None:
            return
        try:
            self._follower.take(token)
        except ValueError:
            self._follower = None

    def settled(self) -> None:
        """The model ends its answer itself."""

    def forced(self) -> Tokens:
        """What the schema asks for next."""
        return () if self._follower is None else self._follower.forced()

    def ending(self) -> Tokens:
        """An answer that is cut stays as it is."""
        return ()


def _made_of(texts: Sequence[bytes], letters: bytes) -> np.ndarray:
    return np.array([bool(text) and set(text) <= set(letters) for text in texts])


def token_bytes(tokenizer: Any, template: Template, token: int) -> bytes:
    """What a token stands for, which may be a part of a letter; its text where that is not known."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not hasattr(backend, "to_str"):
        return str(tokenizer.decode([token])).encode()
    try:
        return bytes(_own_tokenizer(tokenizer, template.end_id).decode_bytes([token]))
    except (ValueError, RuntimeError):
        return str(tokenizer.decode([token])).encode()


@lru_cache(maxsize=8)
def _own_tokenizer(tokenizer: Any, end: int) -> Any:
    return _ll_tokenizer(_serialised(tokenizer.backend_tokenizer), end)


@lru_cache(maxsize=2)
def _ll_tokenizer(serialised: str, end: int) -> Any:
    """llguidance's tokenizer, which takes half a second to make."""
    from llguidance import LLTokenizer

    return LLTokenizer(serialised, eos_token=end)


def _serialised(words: Any) -> str:
    """The tokenizer as text, without the padding and truncation that others may have set on it."""
    return json.dumps({**json.loads(words.to_str()), "padding": None, "truncation": None})


def _answer_prefix(tokenizer: Any, template: Template) -> str:
    """What the tokens of an answer put in front of its text: some templates and tokenizers a space."""
    tokens = template.answer_ids("{}")
    return str(tokenizer.decode_str(list(tokens[:-1]))).partition("{")[0]


def _whitespace(like: str) -> dict[str, Any]:
    """llguidance's options for the whitespace of `like`, or of `data.strict_json.write`."""
    record = parse_record(like) if like else None
    if record is not None and like.strip() == json.dumps(record, ensure_ascii=False, separators=(",", ":")):
        return {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
    if record is not None and "\n" in like.strip():
        return {"whitespace_pattern": r"[\x20\x0A]{0,40}"}
    return {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def _compiled(schema: Mapping[str, Any], prefix: str, whitespace: Mapping[str, Any]) -> str:
    """The grammar of a schema, in the form that LLMatcher reads."""
    from llguidance import LLMatcher

    text = json.dumps({**schema, "x-guidance": dict(whitespace)}, ensure_ascii=False)
    if not prefix:
        return str(LLMatcher.grammar_from_json_schema(text))
    return str(LLMatcher.grammar_from_lark(f"start: {json.dumps(prefix)} record\nrecord: %json {text}"))
