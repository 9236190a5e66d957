"""An encoder, cut: a head chooses among labels by its pooled output.

Knows lessons and answering; nothing of where activations are kept.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch

from azubi.data.chat_template import encode_plain
from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.data.splits.split_assignment import question
from azubi.engine.base.base import Base
from azubi.engine.halves.first_half import TailView, TrunkWithInstruction
from azubi.engine.inference import scope
from azubi.engine.inference.answering import Answering, ChosenAnswers, Form
from azubi.engine.inference.generation import Classifier, averaged
from azubi.engine.model.batch import EncodedExample, Reader
from azubi.engine.model.cut import find_layers, to_dtype
from azubi.engine.model.inference_tail import FrozenLabels
from azubi.engine.model.label_tail import LabelTail
from azubi.engine.model.loading import count, last_layers, loaded
from azubi.engine.model.trunk import NO_PRIME, Trunk
from azubi.errors import SettingError


class EncoderHalves(TailView):
    """An encoder whose pooled output is labelled. It takes no instruction."""

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
        """Load and cut; see `cut`. The label head computes in float32, whatever `dtype` is."""
        if contract.task != "labels":
            raise SettingError(
                f"The base {base.name} is an encoder and can only choose among labels, "
                f"but the answers are {'JSON records' if contract.task == 'json' else 'free text'}.",
                "Choose a base that writes, such as smollm2-135m.",
            )
        self.base = base
        self.dtype = dtype
        self._contract = contract
        self.streams = stream
        self._model, self._lazy = loaded(base, dtype, stream)
        self._cut_at(tail_layers, rank, seed)
        self.parameters = count(self._model) + count(self.tail.head)
        self.layer_parameters = count(find_layers(self._model).layers) // base.layers
        self.head_parameters = 0

    def _cut_at(self, tail_layers: int, rank: int, seed: int) -> None:
        torch.manual_seed(seed)
        self._layers = tail_layers
        self.tail = self._new_tail(rank, seed)
        whole = self._lazy or self._model
        trunk = Trunk(self.base, whole, [self.base.layers - tail_layers], self.dtype)
        self.first = TrunkWithInstruction(trunk, whole, "plain 1")

    def at(self, tail_layers: int, rank: int, seed: int) -> "EncoderHalves":
        """All weights but the tail's are shared with this one."""
        other = copy.copy(self)
        other._cut_at(tail_layers, rank, seed)
        return other

    def prime(self, text: str) -> tuple[int, ...]:
        """Encoders read both ways, so nothing can stand before all texts alike."""
        return ()

    @property
    def prime_tokens(self) -> tuple[int, ...]:
        """None."""
        return ()

    def lesson(self, example: Example) -> EncodedExample:
        """The text, and its label's number."""
        tokens = encode_plain(self.base.tokenizer, example.turns)
        label = self._contract.labels.index(example.answer)
        return EncodedExample(tokens, (label,), weight=example.weight, question=question(example.prompt))

    def tokens(self, example: Example) -> int:
        """The text."""
        return len(encode_plain(self.base.tokenizer, example.turns))

    def begin(self, lessons: Sequence[EncodedExample], read: Reader) -> None:
        """Start the head as a nearest-centroid classifier."""
        self.tail.start_from_means(lessons, read, 64)

    def begin_unseen(self) -> None:
        """Start the head from the labels' names."""
        self.tail.head.load_state_dict(self.own_tail().head.state_dict())

    def answering(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """With the tail as it is now."""
        return self._chosen(self.tail)

    def untouched(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """The label whose name lies nearest to the text: all that an encoder can tell without training."""
        return self._chosen(self.own_tail())

    def own_tail(self) -> LabelTail:
        """The base's last layers, under a head that reads what the labels' names look like."""
        tail = self._new_tail(0, 0).eval()
        names = [label.replace("_", " ").replace("-", " ") for label in self._contract.labels]
        texts = [encode_plain(self.base.tokenizer, (Turn("user", name),)) for name in names]
        with torch.inference_mode():
            states = self.first.trunk.states(texts, NO_PRIME)[self.first.cut]
            padded = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
            tail.start_from(tail.pooled(padded, torch.tensor([len(one) for one in states])))
        return tail

    def at_large(self) -> None:
        """An encoder says nothing of its own."""
        return None

    def unbound(self) -> "EncoderHalves":
        """A head chooses among its labels."""
        return self

    def knows(self, answer: str) -> bool:
        """A label of the contract."""
        return answer in self._contract.labels

    def vectors(self, lessons: Sequence[EncodedExample], read: Reader) -> scope.Matrix:
        """Of all tokens, or what is kept of them."""
        return np.stack([averaged(read(one.tokens)) for one in lessons])

    def _new_tail(self, rank: int, seed: int) -> LabelTail:
        labels = len(self._contract.labels)
        with last_layers(self._lazy, self._layers):
            tail = LabelTail(self._model, self._layers, rank, seed, labels, self.base.pooling)
        if tail.shell is not None:
            to_dtype(tail.shell, self.dtype)
        return tail

    def _chosen(self, tail: LabelTail) -> Answering:
        chooser = Classifier(self.first.trunk, FrozenLabels(tail), self.first.kept(self.first.cut))
        return ChosenAnswers(chooser, self.base.tokenizer, self._contract, self.base.context)
