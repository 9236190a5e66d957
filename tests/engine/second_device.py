"""A device beside the processor, for machines without one: it computes there, but says that it is another.

    python -m tests.engine.second_device llama bert     the selftest of families, and training, on this device

A tensor on it holds one of the processor. torch asks it for every operation; where tensors of both meet, it
fails as a graphics card does. It takes torch's `privateuse1`, which a process cannot give back, so it has a
process of its own. The interfaces are torch's private ones.
"""

import copy
import json
import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "second"
aten = torch.ops.aten
CROSSING = (aten.copy_.default, aten._to_copy.default, aten.index.Tensor, aten.index_put_.default)
"""May be given tensors of both, on a graphics card, too."""


class OnDevice(torch.Tensor):
    """A tensor of the device."""

    __slots__ = ("inner",)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner, **_):
        if inner.device.type == "meta":  # weights that are not there yet
            return nn.Parameter(inner, requires_grad=False)
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, inner.size(), device=f"{NAME}:0", **layout)

    def __init__(self, inner, **_):
        self.inner = inner

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            clone = OnDevice(self.inner.clone())
            is_parameter = isinstance(self, nn.Parameter)
            memo[id(self)] = nn.Parameter(clone, self.requires_grad) if is_parameter else clone
        return memo[id(self)]

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})

    @property
    def data(self):
        return torch.Tensor.data.__get__(self)

    @data.setter
    def data(self, value):
        torch.Tensor.data.__set__(self, value)
        self.inner = value.inner

    def data_ptr(self):
        return self.inner.data_ptr()

    def storage(self):
        return self.inner.storage()

    def untyped_storage(self):
        return self.inner.untyped_storage()

    def tolist(self):
        return self.inner.tolist()


class Operations(TorchDispatchMode):
    """Sees the operations that make tensors."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})


def computed(operation, args, kwargs):
    """What an operation gives: on the device if that is asked for, or if its tensors lie there."""
    if torch.is_inference_mode_enabled():  # torch leaves what is made of other operations whole there
        with Operations():
            output = operation.decompose(*args, **kwargs)
        if output is not NotImplemented:
            return output
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    here = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
    elsewhere = [tensor for tensor in tensors if not isinstance(tensor, OnDevice) and tensor.ndim]
    if here and elsewhere and operation not in CROSSING:
        raise RuntimeError(f"tensors on two devices, {NAME} and cpu: {operation}")
    target = torch.device(kwargs["device"]).type if kwargs.get("device") is not None else None
    stays = isinstance(args[0], OnDevice) if operation in CROSSING else bool(here)
    on_device = stays if target is None else target == NAME
    if on_device and kwargs.get("generator") is not None:
        raise RuntimeError(f"a generator of the processor for {NAME}: {operation}")
    inner_args, inner_kwargs = tree_map_only(OnDevice, lambda tensor: tensor.inner, (args, kwargs))
    if target == NAME:
        inner_kwargs["device"] = torch.device("cpu")
    output = operation(*inner_args, **inner_kwargs)
    if not on_device:
        return output
    returned = operation._schema.returns
    if returned and returned[0].alias_info is not None and returned[0].alias_info.is_write:
        return kwargs.get("out", args[0] if args else None)
    # A view of what was made outside of inference mode is none of inference.
    with torch.inference_mode(torch.is_inference_mode_enabled() and all(map(torch.is_inference, here))):
        return tree_map_only(torch.Tensor, OnDevice, output)


def trained(home, specialist, encoded, folder, stop_after=None, epsilon=None):
    """The weights after an epoch, in `folder`'s checkpoint; perhaps interrupted after so many steps."""
    from azubi.engine.cache.activation_cache import ActivationCache
    from azubi.engine.model import weights
    from azubi.engine.training.checkpoint import Checkpoints
    from azubi.engine.training.defaults import TrainingConfig
    from azubi.engine.training.loop import Step, train

    tail = copy.deepcopy(specialist.tail)
    config = TrainingConfig(epochs=2, batch=2, learning_rate=1e-3, patience=2, seed=0, epsilon=epsilon)
    with closing(ActivationCache(home)) as cache:
        read = specialist.activations.reader(cache)
        events = train(
            tail, encoded, encoded, read, config, has_instruction=True, checkpoints=Checkpoints(folder, "")
        )
        for event in events:
            if isinstance(event, Step) and event.step == stop_after:
                events.close()
    return {name: weight.cpu() for name, weight in weights.trained(tail).items()}


def main():
    from azubi.data.contract import Contract
    from azubi.engine import selftest
    from azubi.engine.base.opening import open_base
    from azubi.engine.model import two_cuts
    from azubi.engine.specialist import Specialist
    from azubi.engine.split_model import SplitModel

    home, differences = Path(tempfile.mkdtemp()), {}
    selftest.CUTS = ((2, 2), (3, 1))
    for family in sys.argv[1:]:
        for dtype in (torch.float32, torch.bfloat16):
            result = selftest.check_family(family, dtype, home)
            differences[f"{family} {result.dtype}"] = [result.device, result.failed, result.error]
    model = SplitModel(open_base(str(home / "llama"), home), torch.float32)
    for prompt_layers in (1, 2):
        specialist = Specialist(model, Contract(task="text"), 2, 0, 0, prompt_layers)
        specialist.set_instruction("Name the line.")
        encoded = [specialist.encode(example) for example in selftest._EXAMPLES]
        whole = trained(home, specialist, encoded, home / f"whole-{prompt_layers}")
        trained(home, specialist, encoded, home / f"part-{prompt_layers}", stop_after=3)
        resumed = trained(home, specialist, encoded, home / f"part-{prompt_layers}")
        differences[f"resumed {prompt_layers}"] = all(
            torch.equal(whole[name], resumed[name]) for name in whole
        )
        private = trained(home, specialist, encoded, home / f"private-{prompt_layers}", epsilon=50.0)
        differences[f"private {prompt_layers}"] = any(
            not torch.equal(whole[name], private[name]) for name in whole
        )
    two_cuts.on_device = lambda value: value
    differences["left behind"] = selftest.check_family("llama", torch.float32, home).error
    print(json.dumps(differences))


if __name__ == "__main__":
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"  # other threads would not see the operations
    torch.set_num_threads(1)
    _setup_privateuseone_for_python_backend(NAME)
    torch._C._set_only_lift_cpu_tensors(True)
    torch.set_default_device(f"{NAME}:0")
    with Operations():
        main()
