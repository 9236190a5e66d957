"""Whether trunk and tail give on this device what they have to give.

Tiny random bases are made, written, opened, cut in every way, read into a cache, trained and asked. They are
compared with the whole model without a cut or a cache, on the same device and in float32 on the processor.
That shows whether the arithmetic is right, not how fast it is. The engine's tests use `WholeModel`, too.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.engine.base import hardware
from azubi.engine.base.base import Base, quiet
from azubi.engine.base.opening import open_base
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.inference.answering import WrittenAnswers, in_order
from azubi.engine.model.batch import EncodedExample, Reader, collate
from azubi.engine.model.cut import find_layers, text_config
from azubi.engine.model.label_tail import FITTED, LabelTail, pool
from azubi.engine.prompt_activations import PromptActivations
from azubi.engine.specialist import Specialist
from azubi.engine.split_model import SplitModel
from azubi.engine.training.state import Optimiser

_SHAPE = {
    **{"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "initializer_range": 0.05},
}
_WINDOWS = {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 6}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"tie_word_embeddings": True},
    "gemma3_text": _WINDOWS | {"query_pre_attn_scalar": 8},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "bert": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}
"""Plain layers; norms of queries and keys, tied embeddings; a sliding window; experts; an encoder."""
CUTS = ((2, 2), (2, 0), (3, 1))
"""`tail_layers` and `prompt_layers`."""
RANKS = (0, 4)
TOLERANCES = {
    "float32": dict.fromkeys(("loss", "gradients", "cache", "answers", "processor"), 1e-4),
    "bfloat16": {"loss": 0.01, "gradients": 0.15, "cache": 0.01, "answers": 0.15, "processor": 0.15},
}
"""Largest relative difference of each check: loss and gradients of the tail against the whole model's; losses
from cached against those from computed activations; how much likelier, in nats, the whole model finds another
token than one that was written; and the whole model here against itself on the processor. On a processor at
most 1e-6 was seen in float32; in bfloat16, which keeps 8 bits, 0.001 of a loss and 0.07 of the rest. A
missing mask changes gradients by 0.4."""
_LONGEST = 6
_LABELS = ("home", "motor", "travel")
_EXAMPLES = tuple(
    Example((Turn("user", prompt),), answer)
    for prompt, answer in (("hail broke the roof", "home"), ("a van", "motor"), ("lost luggage", "travel"))
)


class FamilyResult(BaseModel):
    """What the checks of one family in one number format gave."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    device: str
    dtype: str
    differences: dict[str, float]
    """The largest of each check, over all cuts and ranks; what is not a number is left out."""
    error: str = ""
    """What the device could not do; empty if all was compared."""

    @property
    def failed(self) -> list[str]:
        """Checks whose difference is above the tolerance or missing."""
        limits = TOLERANCES[self.dtype].items()
        return [check for check, limit in limits if self.differences.get(check, np.inf) > limit]


def run(device: hardware.DeviceName = "auto") -> Iterator[FamilyResult]:
    """Check every family in both number formats, bfloat16 even where it is slow; yields as it goes.

    Raises:
        SettingError: torch finds no such device.
    """
    hardware.use_device(device)
    hardware.use_threads(1)  # more threads only wait for each other in products as small as these
    with TemporaryDirectory() as folder:
        for family, dtype in product(FAMILIES, (torch.float32, torch.bfloat16)):
            with quiet():
                result = check_family(family, dtype, Path(folder))
            yield result


def check_family(family: str, dtype: torch.dtype, home: Path) -> FamilyResult:
    """Make a base of `family` in `home`, unless it lies there, and compare it in every way."""
    device, error, differences = torch.get_default_device().type, "", {}
    try:
        if not (home / family).exists():
            write_base(family, home / family)
        differences = _differences(open_base(str(home / family), home), dtype, home)
    except Exception as raised:  # whatever a device cannot do
        error = f"{type(raised).__name__}: {raised}"
    return FamilyResult(
        family=family,
        device=device,
        dtype=str(dtype).removeprefix("torch."),
        differences={
            check: difference for check, difference in differences.items() if np.isfinite(difference)
        },
        error=error,
    )


def byte_tokenizer() -> Any:
    """A tokenizer whose tokens are bytes, without a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    letters = Tokenizer(models.BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[]))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    marks = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=letters, **marks)


def write_base(family: str, folder: Path) -> None:
    """Write a random base; the same on every device."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(folder)
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    config = AutoConfig.for_model(family, **_SHAPE, **ids, vocab_size=len(tokenizer), **FAMILIES[family])
    maker: Any = AutoModel if family == "bert" else AutoModelForCausalLM
    with torch.device("cpu"), torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = maker.from_config(config)
        _perturb((weight for weight in model.parameters() if weight.ndim == 1), 0.1)
    model.save_pretrained(folder)


@torch.no_grad()
def _perturb(weights: Iterator[nn.Parameter], size: float) -> None:
    """Move weights off the values (zero, one) that would hide a mistake; the same on every device."""
    generator = torch.Generator(device="cpu").manual_seed(1)
    for weight in weights:
        noise = torch.randn(weight.shape, generator=generator, device="cpu")
        weight.add_(size * noise.to(weight.device, weight.dtype))


def _differences(base: Base, dtype: torch.dtype, home: Path) -> dict[str, float]:
    """The largest difference of each check over all cuts and ranks."""
    model, plain = SplitModel(base, dtype), base.load(None, dtype)
    with torch.device("cpu"):
        on_processor = base.load(None, torch.float32)
    encoder = base.kind == "encoder"
    contract = Contract(task="labels", labels=_LABELS) if encoder else Contract(task="text")
    worst: dict[str, float] = {}
    for (depth, prompt_layers), rank in product(CUTS[:1] if encoder else CUTS, RANKS):
        specialist = Specialist(model, contract, depth, rank, 0, prompt_layers)
        _perturb((weight for weight, _ in specialist.tail.groups()), 0.05)
        specialist.set_instruction("Name the line.")
        for check, difference in _compare(specialist, plain, on_processor, home):
            # Unlike max, this keeps what is not a number.
            worst[check] = float(np.maximum(worst.get(check, 0.0), difference))
    return worst


def _compare(
    specialist: Specialist, plain: Any, on_processor: Any, home: Path
) -> Iterator[tuple[str, float]]:
    encoded = [specialist.encode(example) for example in _EXAMPLES]
    activations, tail = specialist.activations, specialist.tail
    with closing(ActivationCache(home)) as cache:
        for _ in activations.fill(cache, encoded):
            pass
        cached = _losses(specialist, encoded, activations.reader(cache))
    losses, gradients = _losses(specialist, encoded, activations.reader(None)), _gradients(tail)
    yield "cache", _relative(cached, losses)
    whole = WholeModel(plain, tail)
    whole_losses, whole_gradients = whole.losses_and_gradients(specialist, encoded)
    yield "loss", _relative(losses, whole_losses)
    yield "gradients", _relative(gradients, whole_gradients)
    with torch.device("cpu"):
        others = WholeModel(on_processor, tail).losses_and_gradients(specialist, encoded)
    yield "processor", max(_relative(whole_losses, others[0]), _relative(whole_gradients, others[1]))
    yield "answers", _answer_gap(specialist, encoded, whole)
    moved = Optimiser(tail.groups(), weight_decay=0.0, clip=1.0).step(1e-3)
    yield "gradients", 0.0 if moved else np.nan


def _losses(specialist: Specialist, encoded: Sequence[EncodedExample], read: Reader) -> torch.Tensor:
    """Each example's loss; leaves the gradients of the mean per target on the tail."""
    instruction = hardware.on_device(read(())) if specialist.instruction_tokens else None
    specialist.tail.zero_grad()
    outcome = specialist.tail(collate(encoded, read), instruction)
    outcome.loss.backward()
    losses: torch.Tensor = outcome.losses
    return losses


def _gradients(module: nn.Module) -> torch.Tensor:
    """Of all weights that are trained in steps, in a row; zeros for a weight that has none."""
    trained = [
        weight for name, weight in module.named_parameters() if weight.requires_grad and name not in FITTED
    ]
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in trained]
    return torch.cat([gradient.float().flatten() for gradient in gradients])


def _relative(values: torch.Tensor, reference: torch.Tensor) -> float:
    values, reference = values.cpu(), reference.cpu()
    return float((values - reference).norm() / reference.norm())


@torch.no_grad()
def _answer_gap(specialist: Specialist, encoded: Sequence[EncodedExample], whole: "WholeModel") -> float:
    """How much likelier, in nats, the whole model finds another token or label than a chosen one, at most."""
    answering, template = specialist.answering(_LONGEST), specialist.model.template
    if isinstance(answering, WrittenAnswers) and template is not None:
        prompts = [each.tokens[: len(each.tokens) - len(each.targets) + 1] for each in encoded]
        completions = sorted(answering.generator.write(prompts, _LONGEST), key=lambda pair: pair[0])
        ends = [(template.end_id,) if answer.ended else () for _, answer in completions]
        chosen = [answer.tokens + end for (_, answer), end in zip(completions, ends, strict=True)]
        answered = [
            EncodedExample(prompt + tokens[:-1], tokens)
            for prompt, tokens in zip(prompts, chosen, strict=True)
        ]
    else:
        answers = in_order(answering, [example.turns for example in _EXAMPLES])
        labels = [_LABELS.index(answer.text) for answer in answers]
        answered = [
            EncodedExample(each.tokens, (label,)) for each, label in zip(encoded, labels, strict=True)
        ]
    gaps = []
    for example in answered:
        scores = whole.target_scores(specialist, example)
        gaps.append(
            (scores.max(1).values - scores.gather(1, torch.tensor(example.targets)[:, None])[:, 0]).max()
        )
    return float(torch.stack(gaps).max())


class WholeModel:
    """A model without a cut or a cache that has a tail's weights, chosen by layer and position.

    Above the upper cut a layer is the tail's. Between both cuts it is the base's on the prompt and the tail's
    behind it.
    """

    def __init__(self, model: Any, tail: Any) -> None:
        """Copy `model`, as `Base.load` returns it, and the weights of `tail` to where that lies."""
        self._model = copy.deepcopy(model)
        self._pooling = tail.pooling if isinstance(tail, LabelTail) else None
        weight = next(self._model.parameters())
        self.trained = nn.ModuleDict({"shell": copy.deepcopy(tail.shell).to(weight.device, weight.dtype)})
        """The tail's weights, by their names in the tail."""
        if self._pooling:
            self.trained["head"] = copy.deepcopy(tail.head).to(weight.device)
            self._centre = tail.centre.detach().to(weight.device)
        inner = self._model if self._pooling else self._model.base_model
        shell: Any = self.trained["shell"]
        stack = find_layers(inner)
        first = len(stack.layers) - len(shell.layers)
        lower = 0 if self._pooling else len(shell.layers) - tail.prompt_layers
        for number, layer in enumerate(shell.layers):
            if number < lower:
                self._choose_by_position(stack.layers[first + number], layer)
            else:
                stack.layers[first + number] = self._adopted(layer)
        beside = inner.get_submodule(".".join(stack.path[:-1]))
        for name, norm in shell.norms.items():
            setattr(beside, name, norm)
        self._start = self._tokens = 0

    def scores(self, tokens: Sequence[int], start: int = 0) -> torch.Tensor:
        """Scores [tokens, vocabulary] of a sequence whose prompt ends before `start`; or [1, labels]."""
        self._start, self._tokens = start, len(tokens)
        ids = torch.tensor([list(tokens)])
        if self._pooling is None:
            return self._model(input_ids=ids, use_cache=False).logits[0].float()  # type: ignore[no-any-return]
        mask = torch.ones_like(ids)
        hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors = nn.functional.normalize(pool(hidden, mask.bool(), self._pooling), dim=-1)
        vectors = nn.functional.normalize(vectors - self._centre, dim=-1)
        return self.trained["head"](vectors).float()  # type: ignore[no-any-return]

    def target_scores(self, specialist: Specialist, example: EncodedExample) -> torch.Tensor:
        """Scores [targets, vocabulary or labels] where an example's targets are predicted."""
        before, activations = specialist.instruction_tokens, specialist.activations
        start = 0
        if isinstance(activations, PromptActivations):
            start = len(before) + len(activations.prompts.split(example.tokens)[0])
        return self.scores([*before, *example.tokens], start)[-len(example.targets) :]

    def losses_and_gradients(
        self, specialist: Specialist, encoded: Sequence[EncodedExample]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each example's loss, and the gradients of their mean per target, all in a row."""
        losses, targets = [], sum(len(each.targets) for each in encoded)
        for example in encoded:
            scores = self.target_scores(specialist, example)
            loss = nn.functional.cross_entropy(scores, torch.tensor(example.targets), reduction="sum")
            (loss / targets).backward()
            losses.append(loss.detach())
        return torch.stack(losses), _gradients(self.trained)

    def _adopted(self, layer: Any) -> Any:
        """A tail's layer that this model feeds, and whose attention is this model's."""
        for module in layer.modules():
            module._forward_pre_hooks.clear()
            if hasattr(module, "config"):
                module.config = text_config(self._model)
        return layer

    def _choose_by_position(self, base: nn.Module, trained: nn.Module) -> None:
        """Let every module that has weights, in both layers, choose between them by position.

        In both: where weights stand beside other modules (attention sinks), both ways to compute read what
        the modules within chose.
        """
        for name, module in list(base.named_modules()):
            if next(module.parameters(recurse=False), None) is not None:
                other: Any = trained.get_submodule(name)
                both: Any = module.forward, other.forward
                module.forward = other.forward = partial(self._either, *both)

    def _either(self, base: Callable[..., Any], trained: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return self._joined(base(*args, **more), trained(*args, **more))

    def _joined(self, base: Any, trained: Any) -> Any:
        if isinstance(base, tuple):
            return tuple(self._joined(*pair) for pair in zip(base, trained, strict=True))
        if base is None:
            return None
        axis = base.shape.index(self._tokens)
        shape = [self._tokens if number == axis else 1 for number in range(base.ndim)]
        return torch.where((torch.arange(self._tokens) >= self._start).view(shape), trained, base)
