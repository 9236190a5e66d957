"""Where torch computes: the one place that knows of devices.

Every room makes its tensors where torch makes them by default, which `use` sets; what was made elsewhere
(weights and activations from disk) is brought in with `here`. On a processor all of this does nothing.

Nothing but processors was measured; with CUDA or Apple's GPU the same code is meant to run, untested.
"""

import os
from typing import Literal, TypeVar

import torch
from torch import nn

from azubi.errors import SettingError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Thing = TypeVar("Thing", torch.Tensor, nn.Module)

_PROGRAMS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
"""oneDNN writes a small program for each product of other shapes, and keeps 1,024 of them: batches have many
shapes, and that is hundreds of megabytes. Writing one again takes no time that shows."""
_KEPT = "64"


def best() -> torch.device:
    """The accelerator that torch can use here, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps", 0) if torch.backends.mps.is_available() else torch.device("cpu")


def use(name: DeviceName = "auto") -> torch.device:
    """Compute there from now on.

    Raises:
        SettingError: torch finds no such device.
    """
    found = best()
    if name not in ("auto", "cpu", found.type):
        raise SettingError(
            f"device is {name}, but torch finds no such device here.",
            f"Choose {found.type} or auto; `azubi doctor` tells what there is.",
        )
    chosen = torch.device("cpu") if name == "cpu" else found
    os.environ.setdefault(_PROGRAMS, _KEPT)  # read at the first product
    # None, not cpu: torch asks a default that was set at every tensor that is made.
    torch.set_default_device(None if chosen.type == "cpu" else chosen)
    return chosen


def here(thing: Thing) -> Thing:
    """Bring a tensor or module to where torch computes."""
    where = torch.get_default_device()
    return thing if where.type == "cpu" else thing.to(where)


def rng_state() -> torch.Tensor:
    """The state of the random numbers that dropout draws there."""
    match torch.get_default_device().type:
        case "cuda":
            return torch.cuda.get_rng_state()
        case "mps":
            return torch.mps.get_rng_state()
        case _:
            return torch.get_rng_state()


def set_rng_state(state: torch.Tensor) -> None:
    """Go on drawing from a state that `rng_state` gave."""
    match torch.get_default_device().type:
        case "cuda":
            torch.cuda.set_rng_state(state)
        case "mps":
            torch.mps.set_rng_state(state)
        case _:
            torch.set_rng_state(state)


def wait() -> None:
    """Until all that was asked of an accelerator is done; the clock is read after this."""
    if torch.get_default_device().type != "cpu":
        torch.accelerator.synchronize()
