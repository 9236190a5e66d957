"""A specialist: a tail, an instruction, a contract and a scope, put on a `SplitModel`.

Everything but the tail is shared with all specialists on the same model, so a second one loads no second
base. What a decoder and an encoder do differently (which tail, how an example becomes tokens, how they
answer) is in `_LanguagePart` and `_LabelPart`. Knows nothing of data files, scores or stored specialists.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from azubi.data.chat_template import Encoded, Template, alternating, encode_plain
from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.data.splits.splitting import question
from azubi.engine.base.base import Base
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Filled
from azubi.engine.inference import scope as scopes
from azubi.engine.inference.answering import (
    Answering,
    AnswerMode,
    ChosenAnswers,
    WrittenAnswers,
)
from azubi.engine.inference.generation import Generator
from azubi.engine.inference.labels import Classifier, Vector, averaged
from azubi.engine.inference.scope import Scope
from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample, Reader, ReadPrompt
from azubi.engine.model.label_tail import InferenceLabelTail, LabelTail, Start
from azubi.engine.model.language_tail import InferenceLanguageTail, LanguageTail
from azubi.engine.model.trunk import NO_INSTRUCTION, PromptTrunk
from azubi.engine.prompt_activations import PromptActivations
from azubi.engine.split_model import Activations, SplitModel, must_stream
from azubi.errors import DataError, SettingError

_START_BATCH = 64
"""Texts that are read together to start a label head."""
NEVER = 2.0
"""A threshold that no probability reaches."""


class Specialist:
    """A tail and its instruction and contract on a base that others may share."""

    def __init__(
        self,
        model: SplitModel,
        contract: Contract,
        tail_layers: int,
        rank: int,
        seed: int,
        prompt_layers: int | None = None,
        state: weights.State | None = None,
    ) -> None:
        """Put a new tail on `model`: its last `tail_layers` layers, full (`rank` 0) or low-rank.

        Only the last `prompt_layers` of them act on the prompt; all if that is None, or if the base allows no
        second cut (see `SplitModel.one_cut_only`). With the `state` of a tail that was stored it can only
        answer, and holds no weight twice.

        Raises:
            CorruptFile: `state` does not fit.
        """
        check(model.base, contract, tail_layers, prompt_layers)
        self.model, self.contract, self.tail_layers = model, contract, tail_layers
        if prompt_layers is None or model.one_cut_only:
            prompt_layers = tail_layers
        self.prompt_layers = prompt_layers
        """Of the tail, from the top, how many layers act on the prompt, too."""
        self.instruction = ""
        self.thresholds: tuple[float, ...] = ()
        """Of an encoder that gives sets of labels: from which probability on each is given; half if empty."""
        self.scope: Scope | None = None
        """Which questions are in scope; None where it was not learned."""
        self._part: _LanguagePart | _LabelPart = (
            _LabelPart() if model.template is None else _LanguagePart(model.template)
        )
        self.tail: Any = (
            self._part.new_tail(self, rank, seed)
            if state is None
            else self._part.stored_tail(self, rank, state)
        )
        """The torch module that is trained; of a `state` an inference tail, which is none."""
        self.activations: Activations | PromptActivations = self._part.new_activations(
            model, tail_layers, self.prompt_layers
        )

    @property
    def base(self) -> Base:
        """The base that it stands on."""
        return self.model.base

    @property
    def dtype(self) -> torch.dtype:
        """In which trunk and tail compute."""
        return self.model.dtype

    @property
    def parameters(self) -> int:
        """Of the whole base, and of a label head if there is one."""
        labelled = isinstance(self.tail, LabelTail | InferenceLabelTail)
        return self.model.parameters + (self.tail.head_parameters if labelled else 0)

    @property
    def instruction_tokens(self) -> tuple[int, ...]:
        """The instruction with what the chat template puts around it; empty where nothing is shared."""
        return self.activations.instruction.tokens

    def set_instruction(self, text: str) -> tuple[int, ...]:
        """Put `text` before every prompt; the trunk reads it now. Returns its tokens.

        An encoder has no instruction: it reads in both directions, so texts cannot share a beginning.
        """
        template = self.model.template
        if template is not None:
            self.instruction = text
            self.activations = self.activations.after(template.instruction_ids(text))
        return self.instruction_tokens

    def with_new_tail(
        self, tail_layers: int, rank: int, seed: int, prompt_layers: int | None = None
    ) -> "Specialist":
        """Another specialist with this contract on the same model; it has no instruction yet."""
        return Specialist(self.model, self.contract, tail_layers, rank, seed, prompt_layers)

    def with_tail(self, tail: Any) -> "Specialist":
        """The same with another tail of this depth."""
        other = copy.copy(self)
        other.tail, other.thresholds = tail, ()
        return other

    def unconstrained(self) -> "Specialist":
        """The same with the instruction, but a decoder writes any text; a label head keeps its labels."""
        other = copy.copy(self)
        if self.model.template is not None:
            other.contract = Contract(task="text")
        return other

    def without_instruction(self) -> "Specialist":
        """The same without instruction and contract; raises SettingError for an encoder."""
        if self.model.template is None:
            raise SettingError(
                f"The base {self.base.name} is an encoder: it writes nothing without its labels.",
                "Choose a base that writes, such as smollm2-135m.",
            )
        other = self.unconstrained()
        other.set_instruction("")
        return other

    def init_from_data(
        self, examples: Sequence[EncodedExample], read: Reader, validation: Sequence[EncodedExample] = ()
    ) -> Start | None:
        """Start a label head (see `LabelTail.start_from_means`); a language tail starts as the base."""
        if isinstance(self.tail, LabelTail):
            return self.tail.start_from_means(examples, read, _START_BATCH, validation)
        return None

    def init_without_data(self) -> None:
        """Start a label head from the labels' names; a language tail starts as the base."""
        if isinstance(self.tail, LabelTail):
            self.tail.head.load_state_dict(self.base_tail().head.state_dict())

    def encode(self, example: Example) -> EncodedExample:
        """An example as token ids; with two cuts its last answer alone is a target.

        Raises:
            DataError: with two cuts, what opens an answer stands in the answer, too.
        """
        return self._part.encode(self, example)

    def encode_training(self, examples: Iterable[Example]) -> list[EncodedExample]:
        """Examples as the tail is trained on them.

        With two cuts each answer that is learned is an encoded example of its own: the base reads what stands
        before it. All targets count as they do in one example with several answers.
        """
        if self.prompt_layers == self.tail_layers:
            return [self.encode(example) for example in examples]
        return [
            replace(self.encode(part), question=question(example.prompt))
            for example in examples
            for part in _one_per_answer(example)
        ]

    def allows_two_cuts(self, examples: Iterable[Example]) -> bool:
        """Whether tails with two cuts, too, could learn these examples, and read them encoded as here."""
        if self.model.one_cut_only or any(turn.learned for example in examples for turn in example.turns):
            return False
        other = copy.copy(self)
        other.activations = self._part.new_activations(self.model, self.tail_layers, 0)
        try:
            return all(other.encode(example).tokens for example in examples)
        except DataError:
            return False

    def fill(
        self, cache: ActivationCache, examples: Sequence[EncodedExample], tails: Sequence[tuple[int, int]]
    ) -> Iterator[Filled]:
        """Run the base once over what the cache does not hold, for other tails behind this instruction.

        `tails` are pairs of `tail_layers` and `prompt_layers`.
        """
        reader, two_cuts = self.activations, [tail for tail in tails if tail[0] != tail[1]]
        if isinstance(reader, Activations):
            if not two_cuts:
                return reader.fill(cache, examples, [depth for depth, _ in tails])
            reader = self._part.new_activations(self.model, *two_cuts[0]).after(self.instruction_tokens)
        assert isinstance(reader, PromptActivations)
        return reader.fill(cache, examples, tails)

    def count_tokens(self, example: Example) -> int:
        """Tokens of the base's context that an example takes, instruction and answer included."""
        return self._part.count_tokens(self, example)

    def answering(self, longest: int, mode: AnswerMode | None = None, like: str = "") -> Answering:
        """Answers with the tail as it is now; `longest` is the most tokens of an answer.

        For `mode` and `like` see `answering.WrittenAnswers`; a label head ignores them.
        """
        return self._part.answering(self, self.tail, longest, mode, like, self.thresholds)

    def base_model(self, longest: int, mode: AnswerMode | None = None, like: str = "") -> Answering:
        """Answers with the base's own tail, behind the same instruction.

        An encoder's base chooses the label whose name lies nearest to the text.
        """
        labels = self.contract.labels
        # The nearest name alone: how near is near enough, nobody has told the base.
        return self._part.answering(self, self.base_tail(), longest, mode, like, (NEVER,) * len(labels))

    def base_tail(self) -> Any:
        """The base's own tail: a torch module like `tail`."""
        return self._part.base_tail(self)

    def can_answer(self, answer: str) -> bool:
        """Whether this answer is possible: any text, or one of a head's labels."""
        labels = self.contract.label_set(answer)
        return self.model.template is not None or (labels is not None and labels <= set(self.contract.labels))

    def question_vectors(self, examples: Sequence[EncodedExample], read: Reader) -> scopes.Matrix:
        """[examples, hidden]: activations of each question alone, averaged, as answering gives them."""
        return np.stack([self._question_vector(each, read(each.tokens)) for each in examples])

    def _question_vector(self, example: EncodedExample, reading: torch.Tensor | ReadPrompt) -> Vector:
        if isinstance(reading, ReadPrompt):
            return averaged(reading.mean)
        return averaged(reading[: self._part.question_tokens(example)])


class _LanguagePart:
    """A decoder writes its answers with a language head that stays frozen."""

    def __init__(self, template: Template) -> None:
        self._template = template

    def new_activations(
        self, model: SplitModel, tail_layers: int, prompt_layers: int
    ) -> Activations | PromptActivations:
        if prompt_layers == tail_layers:
            return Activations(model, tail_layers)
        return PromptActivations(model, tail_layers, prompt_layers, self._template.invocation_ids())

    def new_tail(self, specialist: Specialist, rank: int, seed: int) -> LanguageTail:
        depth, prompt_layers = specialist.tail_layers, specialist.prompt_layers
        return specialist.model.language_tail(depth, rank, seed, prompt_layers)

    def stored_tail(self, specialist: Specialist, rank: int, state: weights.State) -> InferenceLanguageTail:
        model, depth = specialist.model, specialist.tail_layers
        if rank == 0 and not model.streams:
            return model.stored_tail(depth, specialist.prompt_layers, state)
        tail = self.new_tail(specialist, rank, 0)
        weights.restore(tail, state)
        return InferenceLanguageTail(tail, model.dtype)

    def base_tail(self, specialist: Specialist) -> LanguageTail:
        return self.new_tail(specialist, 0, 0).eval()

    def encode(self, specialist: Specialist, example: Example) -> EncodedExample:
        # The last token is never read, since nothing is predicted after it.
        encoded = self._template.encode(specialist.instruction, example.turns, example.answer)
        tokens, asked = encoded.prompt_ids + encoded.answer_ids, question(example.prompt)
        if isinstance(specialist.activations, PromptActivations):
            _check_opening(specialist.activations.prompts, encoded, example.line)
        if not encoded.learned or specialist.prompt_layers < specialist.tail_layers:
            return EncodedExample(tokens[:-1], encoded.answer_ids, weight=example.weight, question=asked)
        # An answer at the very beginning of the prompt would be predicted by the instruction.
        spans = [(max(1, start), stop) for start, stop in encoded.learned]
        spans.append((len(encoded.prompt_ids), len(tokens)))
        places = [place for start, stop in spans for place in range(start, stop)]
        return EncodedExample(
            tokens[:-1],
            tuple(tokens[place] for place in places),
            weight=example.weight,
            target_positions=tuple(place - 1 for place in places),
            question=asked,
        )

    def count_tokens(self, specialist: Specialist, example: Example) -> int:
        return len(self._template.encode(specialist.instruction, example.turns, example.answer))

    def question_tokens(self, encoded: EncodedExample) -> int:
        """Up to the token that predicts the last answer's first; none of them sees what follows."""
        last = len(encoded.answers[-1])
        return (
            len(encoded.tokens) - last + 1
            if encoded.target_positions is None
            else encoded.target_positions[-last] + 1
        )

    def _prompts(self, specialist: Specialist) -> PromptTrunk | None:
        """Where the base's reading of a prompt ends; None if it is read with what follows it."""
        activations = specialist.activations
        if isinstance(activations, PromptActivations):
            return activations.prompts
        if specialist.model.readings is None:
            return None
        cut, invocation = activations.cut, self._template.invocation_ids()
        return PromptTrunk(activations.trunk, cut, cut, invocation)

    def answering(
        self,
        specialist: Specialist,
        tail: Any,
        longest: int,
        mode: AnswerMode | None,
        like: str,
        thresholds: Sequence[float],
    ) -> Answering:
        activations, base = specialist.activations, specialist.base
        stored = isinstance(tail, InferenceLanguageTail)
        frozen = tail if stored else InferenceLanguageTail(tail, specialist.dtype)
        generator = Generator(
            activations.trunk,
            frozen,
            activations.instruction,
            self._template.end_id,
            self._prompts(specialist),
            specialist.model.readings,
        )
        return WrittenAnswers(
            generator,
            self._template,
            specialist.instruction,
            specialist.contract,
            longest,
            base.context,
            mode,
            like,
            base.tokenizer,
        )


def _one_per_answer(example: Example) -> Iterator[Example]:
    """An example for each answer that is learned, the last one last."""
    turns = alternating(example.turns)
    for place, turn in enumerate(turns):
        if turn.learned:
            yield replace(example, turns=turns[:place], answer=turn.content)
    yield example


def _check_opening(prompts: PromptTrunk, encoded: Encoded, line: int) -> None:
    """The tail begins where an answer is opened last, which must be in front of this answer."""
    _, answer = prompts.split(encoded.prompt_ids + encoded.answer_ids)
    if len(answer) != len(prompts.invocation) + len(encoded.answer_ids):
        opening = prompts.trunk.base.tokenizer.decode(prompts.invocation).strip()
        raise DataError(
            f"Line {line:,}: {opening!r} stands in the answer, and opens one in the base's chat template.",
            "Leave prompt_layers out, or take that out of the answer.",
        )


class _LabelPart:
    """An encoder chooses among labels by its pooled output."""

    def new_activations(self, model: SplitModel, tail_layers: int, prompt_layers: int) -> Activations:
        return Activations(model, tail_layers)

    def new_tail(self, specialist: Specialist, rank: int, seed: int) -> LabelTail:
        torch.manual_seed(seed)
        return self._tail(specialist, rank, seed)

    def stored_tail(self, specialist: Specialist, rank: int, state: weights.State) -> InferenceLabelTail:
        tail = self.new_tail(specialist, rank, 0)
        weights.restore(tail, state)
        return InferenceLabelTail(tail, own=False)

    def base_tail(self, specialist: Specialist) -> LabelTail:
        """The base's last layers, below a head that reads what the labels' names look like."""
        activations, base = specialist.activations, specialist.base
        tail = self._tail(specialist, 0, 0).eval()
        names = [label.replace("_", " ").replace("-", " ") for label in specialist.contract.labels]
        texts = [encode_plain(base.tokenizer, (Turn("user", name),), base.prefix) for name in names]
        with torch.inference_mode():
            states = activations.trunk.states(texts, NO_INSTRUCTION)[activations.cut]
            padded = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
            tail.start_from(tail.pooled(padded, torch.tensor([len(each) for each in states])))
        return tail

    def encode(self, specialist: Specialist, example: Example) -> EncodedExample:
        tokens = encode_plain(specialist.base.tokenizer, example.turns, specialist.base.prefix)
        contract, text = specialist.contract, example.prompt
        targets: tuple[int, ...]
        if contract.multi:
            given = contract.label_set(example.answer) or ()
            targets = tuple(int(label in given) for label in contract.labels)
        else:
            targets = (contract.labels.index(example.answer),)
        return EncodedExample(tokens, targets, weight=example.weight, question=question(text), text=text)

    def count_tokens(self, specialist: Specialist, example: Example) -> int:
        return len(encode_plain(specialist.base.tokenizer, example.turns, specialist.base.prefix))

    def question_tokens(self, encoded: EncodedExample) -> None:
        """All tokens, or what the cache keeps of them."""
        return None

    def answering(
        self,
        specialist: Specialist,
        tail: Any,
        longest: int,
        mode: AnswerMode | None,
        like: str,
        thresholds: Sequence[float],
    ) -> Answering:
        activations, base = specialist.activations, specialist.base
        assert isinstance(activations, Activations)
        kept = activations.view(activations.cut)
        contract = specialist.contract
        labels = tail if isinstance(tail, InferenceLabelTail) else InferenceLabelTail(tail)
        classifier = Classifier(activations.trunk, labels, kept, contract.multi)
        return ChosenAnswers(classifier, base.tokenizer, contract, base.context, base.prefix, thresholds)

    def _tail(self, specialist: Specialist, rank: int, seed: int) -> LabelTail:
        contract, depth = specialist.contract, specialist.tail_layers
        return specialist.model.label_tail(depth, rank, seed, len(contract.labels), contract.multi)


def new_specialist(
    base: Base,
    contract: Contract,
    tail_layers: int,
    rank: int,
    seed: int,
    dtype: torch.dtype,
    stream: bool | None = None,
    prompt_layers: int | None = None,
    state: weights.State | None = None,
) -> Specialist:
    """Load a base and put a new specialist on it; for `state` see `Specialist`.

    `stream` reads the base from disk layer by layer; None does so if it does not fit in memory.

    Raises:
        SettingError: base, task and layers do not fit each other.
    """
    check(base, contract, tail_layers, prompt_layers)
    if stream is None:
        stream = must_stream(base, tail_layers, rank, dtype)
    model = SplitModel(base, dtype, stream=stream)
    return Specialist(model, contract, tail_layers, rank, seed, prompt_layers, state)


def check(base: Base, contract: Contract, tail_layers: int, prompt_layers: int | None = None) -> None:
    """Raise SettingError if base, task and layers do not fit each other; for None see `Specialist`."""
    if tail_layers > base.layers:
        raise SettingError(
            f"tail_layers is {tail_layers}, but {base.name} has {base.layers} layers.",
            f"Choose a number up to {base.layers}, or all.",
        )
    if base.kind == "encoder" and contract.task != "labels":
        raise SettingError(
            f"The base {base.name} is an encoder and can only choose among labels, "
            f"but the answers are {'JSON records' if contract.task == 'json' else 'free text'}.",
            "Choose a base that writes, such as smollm2-135m.",
        )
    if base.kind == "decoder" and tail_layers == 0:
        raise SettingError(
            f"tail_layers is 0, a head alone, but {base.name} writes its answers with a language head, "
            "which stays frozen.",
            "Choose at least 1, or an encoder for labels, such as minilm or e5-small.",
        )
    if prompt_layers is not None and prompt_layers > tail_layers:
        raise SettingError(
            f"prompt_layers is {prompt_layers}, but tail_layers is {tail_layers}: no more are trained.",
            f"Choose at most {tail_layers}, or all.",
        )


def longest_answer(examples: Sequence[EncodedExample]) -> int:
    """Tokens that an answer may have: a little more than any that was seen."""
    return round(1.2 * max(len(each.answers[-1]) for each in examples)) + 4
