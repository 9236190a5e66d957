"""Where a network's layers are, and how it is cut in two.

The model's own code is kept: both halves are *shells*, shallow copies of the model's modules
that share every weight and differ only in their layer list and layer count. The trunk's list
ends in a stub that stops the forward pass; the tail's first layer takes hidden states from
outside instead of the embeddings. Knows nothing of files, data or training.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from azubi.engine.base.base import refuse_uncuttable
from azubi.errors import BaseModelError


@dataclass(frozen=True)
class LayerList:
    """The list of layers in a model: `root.<path> == layers`."""

    path: tuple[str, ...]
    layers: nn.ModuleList


def find_layers(model: nn.Module) -> LayerList:
    """Find the list that holds the model's layers; raises BaseModelError if the family cannot be cut."""
    config = text_config(model)
    refuse_uncuttable(config)
    count = int(config.num_hidden_layers)
    lists = [
        LayerList(tuple(name.split(".")), module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    # A list of layers may hold smaller lists of the same length (experts, for instance).
    outer = [inner for inner in lists if not any(_inside(inner, other) for other in lists)]
    if len(outer) != 1:
        raise BaseModelError(
            f"A {config.model_type} model has {len(outer)} lists of {count} layers: there is no single cut.",
            "Choose a decoder or encoder with one stack of layers; `azubi bases` names two.",
        )
    if len({id(layer) for layer in outer[0].layers}) != count:
        raise BaseModelError(
            f"The {config.model_type} model uses the same layer more than once.", "It cannot be cut."
        )
    return outer[0]


def text_config(model: nn.Module) -> Any:
    """The part of a model's configuration that describes its text layers."""
    config: Any = model.config
    return config.get_text_config()


def _inside(inner: LayerList, other: LayerList) -> bool:
    return inner is not other and inner.path[: len(other.path)] == other.path


class _Stop(Exception):
    """Ends a forward pass at the last cut: what comes after is never needed."""


def _stop(*_: Any) -> None:
    raise _Stop


def _unreached(model: nn.Module, layer: int) -> BaseModelError:
    return BaseModelError(
        f"The {text_config(model).model_type} model never reached layer {layer}.", "Choose another base."
    )


class _Stub(nn.Module):
    """Stands in place of the first layer after the cut and has its attributes (attention type and so on)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "_layer", layer)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._layer, name)

    def forward(self, *_: Any, **__: Any) -> None:
        raise _Stop


class TrunkShell:
    """Embeddings and the layers below the highest cut, frozen; returns hidden states at each cut.

    A cut c means: what layer c (counted from 0) would read. Cut 0 is the embeddings' output; the
    cut behind the last layer is the model's own output, after the final norm.
    """

    def __init__(self, model: nn.Module, cuts: Sequence[int]) -> None:
        self.cuts = tuple(sorted(set(cuts)))
        stack = find_layers(model)
        top = self.cuts[-1]
        self._whole = top == len(stack.layers)
        end = [] if self._whole else [_Stub(stack.layers[top])]
        self.layers = nn.ModuleList([*stack.layers[:top], *end])
        self.model = _shell(model, stack.path, self.layers)
        _shorten(self.model, slice(0, len(self.layers)))
        self.takes_positions = "position_ids" in inspect.signature(self.model.forward).parameters
        """False for a family that has none, or derives them from the attention mask."""
        self.model.eval()

    def __call__(self, **inputs: Any) -> dict[int, torch.Tensor]:
        """Run `inputs` (as the model's own forward takes them) up to the highest cut.

        Returns a tensor of shape [batch, tokens, hidden] for each cut.
        """
        at_cuts: dict[int, torch.Tensor] = {}
        handles = [
            _on_input(self.layers[cut], partial(at_cuts.__setitem__, cut))
            for cut in self.cuts
            if cut < len(self.layers)
        ]
        try:
            output = self.model(**inputs)
            if self._whole:
                return at_cuts | {self.cuts[-1]: output.last_hidden_state}
        except _Stop:
            return at_cuts
        finally:
            for handle in handles:
                handle.remove()
        raise _unreached(self.model, self.cuts[-1])


def _on_input(layer: nn.Module, receive: Callable[[torch.Tensor], None]) -> RemovableHandle:
    """Call `receive` with the hidden states that a layer is about to read."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        receive(args[0] if args else kwargs["hidden_states"])

    return layer.register_forward_pre_hook(hook, with_kwargs=True)


class LayerShell:
    """One layer from the middle: from what it reads to what the next layer reads."""

    def __init__(self, model: nn.Module, number: int) -> None:
        """Take layer `number` (from 0; not the last) out of `model`; its weights stay shared."""
        stack = find_layers(model)
        layer = _copy(stack.layers[number], own=False)
        _renumber([layer])
        self._stub = _Stub(stack.layers[number + 1])
        self._model = _shell(model, stack.path, nn.ModuleList([layer, self._stub])).eval()
        _shorten(self._model, slice(number, number + 2))
        self._feed = _Feed(self._model, layer)

    @property
    def config(self) -> Any:
        """The shortened model's configuration."""
        return self._model.config

    def __call__(self, states: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Hidden states [batch, tokens, hidden] after the layer; `inputs` as the model's forward takes."""
        return self._feed.up_to(self._stub, self._model, states, **inputs)


class LowerLayers:
    """The first layers of a tail by themselves; weights stay shared."""

    def __init__(self, tail: "TailShell", count: int) -> None:
        """Take the first `count` layers of `tail`, but not all."""
        layers = tail.layers
        self._stub = _Stub(layers[count])
        path = find_layers(tail.model).path
        self._model = _shell(tail.model, path, nn.ModuleList([*layers[:count], self._stub]))
        _shorten(self._model, slice(0, count + 1))
        self._feed = _Feed(self._model, layers[0])

    def __call__(self, states: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Hidden states [batch, tokens, hidden] that the next layer reads, from those at the tail's cut."""
        return self._feed.up_to(self._stub, self._model, states, **inputs)


class _Feed:
    """Puts hidden states from outside where a shell's first layer would read the embeddings."""

    def __init__(self, shell: Any, first: nn.Module) -> None:
        self._width = shell.get_input_embeddings().embedding_dim
        self._states: torch.Tensor | None = None
        first.register_forward_pre_hook(self._replace, with_kwargs=True)

    def through(self, shell: Any, states: torch.Tensor, **inputs: Any) -> Any:
        """The output of `shell`, which this feed was made for, for `states`."""
        self._states = states
        # The model checks and counts the embeddings; some families' are narrower than their layers.
        same_width = states.shape[-1] == self._width
        embeddings = states if same_width else states.new_zeros(*states.shape[:-1], self._width)
        try:
            return shell(inputs_embeds=embeddings, **inputs)
        finally:
            self._states = None

    def up_to(self, stub: nn.Module, shell: Any, states: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """What `stub`, which stands behind the shell's layers, would read."""
        outputs: list[torch.Tensor] = []
        # Removed again: a hook that holds a shell would keep the layers' weights alive in a circle.
        handle = _on_input(stub, outputs.append)
        try:
            self.through(shell, states, **inputs)
        except _Stop:
            return outputs[0]
        finally:
            handle.remove()
        raise _unreached(shell, len(outputs))

    def _replace(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Models may scale or shift `inputs_embeds` before the first layer; the cut lies after that.
        if args:
            return (self._states, *args[1:]), kwargs
        return args, kwargs | {"hidden_states": self._states}


class TailShell(nn.Module):
    """The last k layers and what follows them, fed with hidden states instead of tokens."""

    _model: Any

    def __init__(self, model: nn.Module, k: int, *, own: bool = False) -> None:
        """Cut the last `k` layers off `model`; `own` copies the weights that training may change.

        The copy leaves embeddings and language head shared. `k` must be at least 1.
        """
        super().__init__()
        stack = find_layers(model)
        first = len(stack.layers) - k
        self.layers = nn.ModuleList(_copy(layer, own) for layer in stack.layers[first:])
        # Not registered as a child: the shell's layers already are, as `layers`.
        shell = _shell(model, stack.path, self.layers)
        _shorten(shell, slice(first, len(stack.layers)))
        _renumber(self.layers)
        object.__setattr__(self, "_model", shell.eval())
        self._feed = _Feed(shell, self.layers[0])
        parent = _descend(shell, stack.path[:-1])
        norms = {name: _copy(getattr(parent, name), own) for name in self._final_norms(parent)}
        parent._modules.update(norms)
        self.norms = nn.ModuleDict(norms)

    def upper(self, count: int) -> "TailShell":
        """The last `count` layers with the norms as a tail; weights stay shared.

        Its layers are counted from 0 anew: do not run the whole tail as well.
        """
        first = len(self.layers) - count
        tail = TailShell.__new__(TailShell)
        nn.Module.__init__(tail)
        tail.layers, tail.norms = self.layers[first:], self.norms
        shell = _shell(self._model, find_layers(self._model).path, tail.layers)
        _shorten(shell, slice(first, len(self.layers)))
        _renumber(tail.layers)
        object.__setattr__(tail, "_model", shell)
        tail._feed = _Feed(shell, tail.layers[0])
        return tail

    @property
    def model(self) -> Any:
        """The shortened model, in the model's own class."""
        return self._model

    @property
    def takes_positions(self) -> bool:
        """False for a family that has none, or derives them from the attention mask."""
        return "position_ids" in inspect.signature(self._model.forward).parameters

    @property
    def config(self) -> Any:
        """The shortened model's configuration."""
        return self._model.config

    def forward(self, activations: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """From hidden states at the cut to those after the final norm, both [batch, tokens, hidden]."""
        output = self._feed.through(self._model, activations, **inputs)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    @torch.no_grad()
    def _final_norms(self, parent: nn.Module) -> list[str]:
        """Names of the norms beside the layer list that run after it.

        A norm that runs before the first layer, of positions for instance, belongs to the trunk; a pass of
        two tokens that stops at the first layer shows which those are.
        """
        beside = {
            name: child for name, child in parent.named_children() if "norm" in type(child).__name__.lower()
        }
        early: list[nn.Module] = []
        handles = [
            norm.register_forward_hook(lambda norm, *_: early.append(norm)) for norm in beside.values()
        ]
        handles.append(self.layers[0].register_forward_pre_hook(_stop))
        takes_cache = "use_cache" in inspect.signature(self._model.forward).parameters
        try:
            # The embeddings of a model that is read layer by layer have a number format, but no place.
            words, weight = self._model.get_input_embeddings().weight, next(self.layers.parameters())
            width = text_config(self._model).hidden_size
            tokens = torch.zeros(1, 2, width, dtype=words.dtype, device=weight.device)
            self(tokens, **{"use_cache": False} if takes_cache else {})
        except _Stop:
            return [name for name, norm in beside.items() if not any(norm is other for other in early)]
        finally:
            for handle in handles:
                handle.remove()
        raise _unreached(self._model, 0)

    def __deepcopy__(self, memo: dict[int, Any]) -> "TailShell":
        """Copy the layers and norms with their weights; embeddings and what else is frozen stay shared."""
        own = {id(tensor) for tensor in (*self.parameters(), *self.buffers())}
        for tensor in (*self._model.parameters(), *self._model.buffers()):
            if id(tensor) not in own:
                memo[id(tensor)] = tensor
        clone = self.__class__.__new__(self.__class__)
        memo[id(self)] = clone
        clone.__dict__.update({name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()})
        return clone


def _shell(model: nn.Module, path: Sequence[str], layers: nn.ModuleList) -> Any:
    """Copy the modules on the way to the layer list (not their weights) and put `layers` there."""
    clone = _bare_copy(model)
    clone.config = copy.deepcopy(model.config)
    parent: nn.Module = clone
    for name in path[:-1]:
        child = _bare_copy(parent._modules[name])
        if hasattr(child, "config"):
            child.config = clone.config.get_text_config()
        parent._modules[name] = child
        parent = child
    parent._modules[path[-1]] = layers
    return clone


def _bare_copy(module: nn.Module | None) -> Any:
    """Copy a module's own tables, so that changing the copy's children leaves the original alone."""
    assert module is not None
    clone = module.__class__.__new__(module.__class__)
    clone.__dict__.update(module.__dict__)
    for table in ("_modules", "_parameters", "_buffers"):
        clone.__dict__[table] = dict(module.__dict__[table])
    for table in [name for name in module.__dict__ if name.endswith("_hooks")]:
        clone.__dict__[table] = copy.copy(module.__dict__[table])
    return clone


def _descend(module: nn.Module, path: Sequence[str]) -> nn.Module:
    for name in path:
        child = module._modules[name]
        assert child is not None
        module = child
    return module


def _shorten(shell: Any, kept: slice) -> None:
    """Tell the shell's configuration how many layers are left, and of which kinds."""
    config = shell.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds:
        config.layer_types = list(kinds[kept])
    config.num_hidden_layers = kept.stop - kept.start


def _copy(module: nn.Module, own: bool) -> Any:
    """Copy modules; their weights too when `own`, else the copy shares them."""
    tensors = [] if own else [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})


def _renumber(layers: Iterable[nn.Module]) -> None:
    """Count the layers from 0: a cache of keys and values is addressed by that number."""
    for number, layer in enumerate(layers):
        for module in layer.modules():
            if isinstance(getattr(module, "layer_idx", None), int):
                module.__dict__["layer_idx"] = number


def to_dtype(module: nn.Module, dtype: torch.dtype) -> None:
    """Turn a module's weights to `dtype` in place.

    Buffers stay: the frequencies of rotary positions lose their meaning in bfloat16.
    """
    for weight in module.parameters():
        weight.data = weight.data.to(dtype)
