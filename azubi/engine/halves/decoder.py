"""A decoder, cut: it writes its answers, held by a language head that stays frozen.

Knows templates, lessons and answering; nothing of where activations are kept.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch

from azubi.data.chat_template import Template
from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.splits.split_assignment import question
from azubi.engine.base.base import Base
from azubi.engine.halves.first_half import TailView, TrunkWithInstruction
from azubi.engine.inference import scope
from azubi.engine.inference.answering import Answering, Form, WrittenAnswers, completed
from azubi.engine.inference.generation import Generator, averaged
from azubi.engine.model.batch import EncodedExample, Reader
from azubi.engine.model.cut import find_layers, to_dtype
from azubi.engine.model.inference_tail import FrozenLanguage
from azubi.engine.model.language_tail import LanguageTail
from azubi.engine.model.lazy import HEAD
from azubi.engine.model.loading import count, last_layers, loaded
from azubi.engine.model.trunk import Trunk
from azubi.errors import SettingError


class DecoderHalves(TailView):
    """A decoder that writes its answers."""

    def __init__(
        self,
        base: Base,
        contract: Contract,
        tail_layers: int,
        rank: int,
        seed: int,
        dtype: torch.dtype,
        stream: bool,
    ) -> None:
        """Load and cut; see `cut`."""
        if tail_layers == 0:
            raise SettingError(
                f"tail_layers is 0, a head alone, but {base.name} writes its answers with a language head, "
                "which stays frozen.",
                "Choose at least 1, or the base minilm for labels.",
            )
        self.base = base
        self.dtype = dtype
        self._contract = contract
        self.streams = stream
        self._model, self._lazy = loaded(base, dtype, stream)
        self.parameters = count(self._model)
        if self._lazy:
            self._lazy.keep(HEAD)
        self._template = Template(base.tokenizer)
        self._cut_at(tail_layers, rank, seed)
        self.layer_parameters = count(find_layers(self._model.base_model).layers) // base.layers
        self.head_parameters = self._model.get_output_embeddings().weight.numel()

    def _cut_at(self, tail_layers: int, rank: int, seed: int) -> None:
        self._layers = tail_layers
        self.tail = self._new_tail(rank, seed)
        to_dtype(self.tail, self.dtype)
        whole = self._lazy or self._model
        trunk = Trunk(self.base, whole, [self.base.layers - tail_layers], self.dtype)
        self.first = TrunkWithInstruction(trunk, whole, self._template.fingerprint)
        self.tail.head.to_dtype(self.dtype)
        self._prime = ""

    def at(self, tail_layers: int, rank: int, seed: int) -> "DecoderHalves":
        """All weights but the tail's are shared with this one."""
        other = copy.copy(self)
        other._cut_at(tail_layers, rank, seed)
        return other

    def prime(self, text: str) -> tuple[int, ...]:
        """Run the instruction through the trunk."""
        self._prime = text
        self.first = self.first.behind(self._template.prime_ids(text))
        return self.prime_tokens

    @property
    def prime_tokens(self) -> tuple[int, ...]:
        """The instruction's tokens, with what the chat template puts around it."""
        return self.first.primed.tokens

    def lesson(self, example: Example) -> EncodedExample:
        """Prompt and answer; the last token is never read, since nothing is predicted after it."""
        encoded = self._template.encode(self._prime, example.turns, example.answer)
        tokens, asked = encoded.prompt_ids + encoded.answer_ids, question(example.prompt)
        if not encoded.learned:
            return EncodedExample(tokens[:-1], encoded.answer_ids, weight=example.weight, question=asked)
        # An answer at the very beginning of the prompt would be predicted by the prime, which it is not.
        spans = [(max(1, start), stop) for start, stop in encoded.learned]
        learned = [*spans, (len(encoded.prompt_ids), len(tokens))]
        places = [place for start, stop in learned for place in range(start, stop)]
        return EncodedExample(
            tokens[:-1],
            tuple(tokens[place] for place in places),
            weight=example.weight,
            places=tuple(place - 1 for place in places),
            question=asked,
        )

    def tokens(self, example: Example) -> int:
        """Prime, prompt and answer."""
        return len(self._template.encode(self._prime, example.turns, example.answer))

    def begin(self, lessons: Sequence[EncodedExample], read: Reader) -> None:
        """A decoder starts as it is."""

    def begin_unseen(self) -> None:
        """A decoder starts as it is."""

    def answering(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """With the tail as it is now."""
        return self._written(self.tail, longest, form, like)

    def untouched(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """With the base's own tail."""
        return self._written(self.own_tail(), longest, form, like)

    def at_large(self) -> "DecoderHalves":
        """As someone would ask who knows nothing of the specialist; all weights are shared with this one."""
        other = self.unbound()
        other.prime("")
        return other

    def unbound(self) -> "DecoderHalves":
        """All weights are shared with this one."""
        other = copy.copy(self)
        other._contract = Contract(task="text")
        return other

    def knows(self, answer: str) -> bool:
        """Any text can be written."""
        return True

    def own_tail(self) -> LanguageTail:
        """A copy of the base's last layers."""
        tail = self._new_tail(0, 0)
        to_dtype(tail, self.dtype)
        tail.head.to_dtype(self.dtype)
        return tail.eval()

    def vectors(self, lessons: Sequence[EncodedExample], read: Reader) -> scope.Matrix:
        """Of the tokens up to the one that predicts the answer; none of them sees what follows."""
        return np.stack([averaged(read(one.tokens)[: _asked(one)]) for one in lessons])

    def _new_tail(self, rank: int, seed: int) -> LanguageTail:
        with last_layers(self._lazy, self._layers):
            return LanguageTail(self._model, self._layers, rank, seed)

    def _written(self, tail: LanguageTail, longest: int, form: Form | None, like: str) -> Answering:
        frozen = FrozenLanguage(tail, self.dtype)
        writer = Generator(self.first.trunk, frozen, self.first.primed, self._template.end_id)
        written = WrittenAnswers(
            writer,
            self._template,
            self._prime,
            self._contract,
            longest,
            self.base.context,
            form,
            like,
            self.base.tokenizer,
        )
        return completed(written, self._contract)


def _asked(lesson: EncodedExample) -> int:
    """Tokens of a lesson's prompt, which ends where the first token of the last answer is predicted."""
    last = len(lesson.answers[-1])
    return len(lesson.tokens) - last + 1 if lesson.places is None else lesson.places[-last] + 1
