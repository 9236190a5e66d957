"""Which examples the base cannot read: too long for it, or without room for an answer.

Knows bases and the instruction; nothing of sources.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from azubi.data.chat_template import Template, encode_plain
from azubi.data.contract import Contract, Task, infer
from azubi.data.example import Example
from azubi.data.instruction import choose, shared_system
from azubi.data.readers.row import Rejected, shortened
from azubi.engine.base import catalog
from azubi.engine.training import defaults
from azubi.settings import Recipe
from azubi.storage.importing import importing

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


def fault_of(recipe: Recipe, task: Task | None, home: Path, examples: Sequence[Example]) -> Fault:
    """What says of an example, one of these or of another source, why a base of the recipe cannot read it.

    It raises UsageError if a base cannot be used, or the instruction cannot be read.
    """

    @cache
    def short() -> int:
        """Bytes of an example that the base reads in any case, as far as that is known without opening it."""
        contract = infer([example.answer for example in examples], task)
        entry = catalog.find(defaults.base_for(recipe, contract.task))
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
        name = defaults.base_for(recipe, contract.task)
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
        return _Limit(base, lambda example, _: len(encode_plain(base.tokenizer, example.turns)))
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
