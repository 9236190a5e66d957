"""What no later stage gets: rows that were erased, personal data, and what the base cannot read.

Cache, model, events and report hold only what comes out of here. Knows nothing of how sources are read.
"""

import heapq
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from azubi.data import instruction
from azubi.data.chat_template import Template, encode_plain
from azubi.data.contract import Contract, Task, infer
from azubi.data.datasets.erased import Erased
from azubi.data.datasets.rows import rows_of
from azubi.data.example import Example, Part
from azubi.data.finding import excerpt
from azubi.data.instruction import choose, shared_system
from azubi.data.language import TextProfile
from azubi.data.pii import policy
from azubi.data.pii.pseudonyms import KeyFile, PseudonymMap, derived_key
from azubi.data.readers.row import Rejected, shortened
from azubi.engine.base import catalog
from azubi.engine.training import defaults
from azubi.events import events as ev
from azubi.settings import Recipe
from azubi.storage.libraries import importing

if TYPE_CHECKING:
    from azubi.engine.base.base import Base


_SHORT = 400
"""Bytes of an example that any base reads: where none has more, none is opened to see."""
_LONGEST = 50
"""Longest answers, in characters, whose tokens are counted."""
_FRAME = 64
"""Tokens that a chat template may put around an example."""

Fault = Callable[[Example], Rejected | None]
"""An example as a row that cannot be used, since the base cannot read it; None if it can."""


def fault_of(
    recipe: Recipe, task: Task | None, home: Path, examples: Sequence[Example], texts: TextProfile
) -> Fault:
    """What says of an example, one of these or of another source, why a base of the recipe cannot read it.

    `texts`: what the prompts of the examples are like, which decides upon the base if the recipe names none.

    It raises UsageError if a base cannot be used, or the instruction cannot be read.
    """

    @cache
    def short() -> int:
        """Bytes of an example that the base reads in any case, as far as that is known without opening it."""
        contract = infer([example.answer for example in examples], task)
        entry = catalog.find(defaults.base_for(recipe, contract.task, texts))
        if entry is None or entry.kind == "encoder":
            return _SHORT
        instruction = choose(recipe.instruction, shared_system(examples), contract)
        answer = max((len(example.answer.encode(errors="surrogatepass")) for example in examples), default=0)
        return max(_SHORT, entry.context - len(instruction.encode()) - answer - _FRAME)

    @cache
    def limits() -> list[_Limit]:
        with importing():
            from azubi.engine.base.opening import open_base
        contract = infer([example.answer for example in examples], task)
        name = defaults.base_for(recipe, contract.task, texts)
        several = recipe.budget is not None and not Path(name).expanduser().exists()
        names = name.split(",") if several else [name]
        return [_limit(open_base(base.strip(), home), recipe, contract, examples) for base in names]

    def fault(example: Example) -> Rejected | None:
        if _size(example) <= _SHORT or _size(example) <= short():
            return None
        reason = next((why for limit in limits() if (why := limit.fault(example))), None)
        return Rejected(example.line, reason, shortened(example.prompt)) if reason else None

    return fault


@dataclass(frozen=True)
class _Limit:
    """What one base reads at once, and how much of it an example takes."""

    base: "Base"
    count: Callable[[Example, str], int]
    """Tokens of an example with that answer, and with the instruction."""
    shared: int = 0
    """At most so many tokens stand before each example."""
    answer: int = 0
    """Tokens of the longest answer, for which there has to be room."""

    def fault(self, example: Example) -> str | None:
        """Why the base cannot read it; None if it can."""
        most = self.base.context
        if _size(example) + self.shared + self.answer + _FRAME <= most:  # a token has at least one byte
            return None
        limit = f"but {self.base.name} reads at most {most:,}"
        if (tokens := self.count(example, example.answer)) > most:
            return f"has {tokens:,} tokens, {limit}"
        if self.answer and (tokens := self.count(example, "") + self.answer) > most:
            return f"has {tokens:,} tokens if its answer is as long as the longest one, {limit}"
        return None


def _limit(base: "Base", recipe: Recipe, contract: Contract, examples: Sequence[Example]) -> _Limit:
    if base.kind == "encoder":
        return _Limit(base, lambda example, _: len(encode_plain(base.tokenizer, example.turns, base.prefix)))
    system, template = shared_system(examples), Template(base.tokenizer)
    instruction = choose(recipe.instruction, system, contract)

    def count(example: Example, answer: str) -> int:
        begins = system is not None and example.turns[0].role == "system"
        return len(template.encode(instruction, example.turns[begins:], answer))

    limit = _Limit(base, count, len(instruction.encode()))
    longest = heapq.nlargest(_LONGEST, examples, key=lambda example: len(example.answer))
    fitting = [example.answer for example in longest if limit.fault(example) is None]
    answer = max((len(template.answer_ids(answer)) for answer in fitting), default=0)
    return _Limit(base, count, limit.shared, answer)


def _size(example: Example) -> int:
    texts = [turn.content for turn in example.turns] + [example.answer]
    return sum(len(text.encode(errors="surrogatepass")) for text in texts)


Parts = dict[Part, tuple[Example, ...]]
"""Examples by the setting that named their source, in the order of `SOURCES`; only those that are named."""


def so_many(count: int, what: str, more: str = "") -> str:
    """1 row is, 2 rows are."""
    return f"{count:,} {what}{more} is" if count == 1 else f"{count:,} {what}s{more} are"


def redact(
    home: Path, recipe: Recipe, parts: Parts, *, plan_only: bool = False
) -> Generator[ev.Event, None, Parts]:
    """The examples without what was erased, and with personal data treated as the recipe says.

    With `plan_only`, for a plan or a check, neither a key nor a map of pseudonyms is made.

    Raises:
        DataError, SettingError: see `policy.apply`.
    """
    parts = yield from _without_erased(home, parts)
    parts = yield from _without_personal_data(home, recipe, parts, not plan_only)
    parts = yield from _with_instruction(recipe, parts)
    # Rows without a key are known by their content, which may be another one now.
    return (yield from _without_erased(home, parts))


def _with_instruction(recipe: Recipe, parts: Parts) -> Generator[ev.Event, None, Parts]:
    """The examples with the text with which all prompts begin as their system message, the instruction."""
    text, count = instruction.common_beginning(parts["data"])
    # A recipe that a run has left names what was taken: it holds for the same prompts again.
    if not text or (
        recipe.instruction is not None and instruction.from_setting(recipe.instruction) != text.strip()
    ):
        return parts
    begins = f"begin with the same text ({len(text.split())} words: {excerpt(text, 60)})"
    if count < len(parts["data"]):
        yield ev.Notice(
            text=f"{count:,} of {len(parts['data']):,} prompts {begins}. If it is the instruction, take it "
            "out of the prompts and give it with --instruction."
        )
        return parts
    yield ev.Notice(
        text=f"All prompts {begins}: it is taken as the instruction, for whatever is asked later, too. "
        'With --instruction (or --instruction "", for none) the prompts stay as they are.'
    )
    return {name: instruction.with_system(examples, text) for name, examples in parts.items()}


def _without_erased(home: Path, parts: Parts) -> Generator[ev.Event, None, Parts]:
    rows = rows_of(parts)
    remaining = Erased(home).without(rows)
    if gone := len(rows) - len(remaining):
        yield ev.Notice(text=f"{so_many(gone, 'row')} left out: it was erased (azubi data erase).")
    return {name: tuple(row.example for row in remaining if row.part == name) for name in parts}


def _without_personal_data(
    home: Path, recipe: Recipe, parts: Parts, keep: bool
) -> Generator[ev.Event, None, Parts]:
    """Carry out what the recipe says about personal data, under one key for all splits."""
    together = tuple(example for examples in parts.values() for example in examples)
    rules = policy.Rules(recipe.personal_data, recipe.patterns, recipe.names)
    path, pseudonym_map = recipe.personal_key, None
    if rules.changes and path is not None and (keep or path.exists()):
        rules = replace(rules, key=KeyFile(path).read_or_create())
        pseudonym_map = PseudonymMap(home, rules.key)
        if not keep:
            rules, pseudonym_map = replace(rules, known=pseudonym_map.known()), None
    elif rules.changes:
        rules = replace(rules, key=derived_key(together))
    applied = policy.apply(together, rules, pseudonym_map)
    if applied.tally.touched:
        yield ev.Notice(text=policy.summary(rules, applied.tally))
    redacted = iter(applied.examples)
    return {name: tuple(islice(redacted, len(examples))) for name, examples in parts.items()}
