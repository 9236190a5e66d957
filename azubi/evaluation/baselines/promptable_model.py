"""A language model in memory that can be given any instruction.

All that talk share one trunk in memory: what differs is the instruction, which is computed once for all
questions behind it, and whether the last layers are the base's own or the specialist's. Knows specialists;
nothing of examples.
"""

from collections import OrderedDict
from collections.abc import Sequence

from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.engine.inference.answering import Answering, CompletedAnswers, Form, Question, WrittenAnswers
from azubi.engine.specialist import Specialist

_KEPT = 2
"""Instructions whose keys and values are kept."""


class PromptableModel:
    """A decoder, cut somewhere, with the base's own tail or with that of the specialist."""

    def __init__(self, both: Specialist, contract: Contract, longest: int, like: str, *, own: bool) -> None:
        """`both` is a decoder; `own` says whether its trained tail answers, or the base's.

        For `longest` and `like` see `answering.WrittenAnswers`.
        """
        # Where the base answers the cut does not matter, and the last layer alone is the smallest copy.
        self._both = both if own else both.with_new_tail(1, 0, 0)
        self._own, self._longest, self._like = own, longest, like
        self._behind: str | None = None
        self._speaking: OrderedDict[tuple[str, Form], Answering] = OrderedDict()
        self.parameters = both.parameters
        self.forms: tuple[Form, ...] = ("contract",) if contract.task == "text" else ("contract", "free")
        self.notes: list[str] = []

    def under(self, instruction: str, form: Form) -> Answering:
        """What answers with this instruction."""
        key = (instruction, form)
        if key not in self._speaking:
            while len(self._speaking) >= _KEPT:
                self._speaking.popitem(last=False)
            self._prime(instruction)
            make = self._both.answering if self._own else self._both.base_model
            self._speaking[key] = speak = make(self._longest, form, self._like)
            self._note(speak)
        self._speaking.move_to_end(key)
        return self._speaking[key]

    def shared(self, instruction: str) -> int:
        """Tokens of the instruction, with what the chat template puts around it."""
        self._prime(instruction)
        return len(self._both.instruction_tokens)

    def fits(self, instruction: str, question: Question) -> bool:
        """Whether the base reads instruction, question and the longest answer at once."""
        self._prime(instruction)
        return (
            self._both.count_tokens(Example(tuple(question), "")) + self._longest <= self._both.base.context
        )

    def takes(self, instruction: str, longest: Sequence[Turn]) -> bool:
        """Whether an instruction leaves room for the longest question; told before it is computed."""
        words = self._both.base.tokenizer
        text = "\n".join([instruction, *(turn.content for turn in longest)])
        count = len(words.encode(text, add_special_tokens=False, verbose=False))
        return count + self._longest + _FRAME <= self._both.base.context

    def _prime(self, instruction: str) -> None:
        if instruction != self._behind:
            self._both.set_instruction(instruction)
            self._behind = instruction

    def _note(self, speak: Answering) -> None:
        inner = speak.answering if isinstance(speak, CompletedAnswers) else speak
        if isinstance(inner, WrittenAnswers) and inner.note and inner.note not in self.notes:
            self.notes.append(inner.note)


_FRAME = 64
"""Tokens that chat templates put around instruction and question, and a few to spare."""
