"""Weights by a rule that knows no names, so that two builds of one network compute the same numbers."""

from collections.abc import Collection
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn


def fill(network: nn.Module, gain: float, as_filters: Collection[str] = ()) -> None:
    """Give every floating-point parameter and buffer values that follow from its shape and kind alone.

    Args:
        network: filled in place.
        gain: scales the weights.
        as_filters: globs of one-dimensional parameters (k) that the reference holds as (1, k, 1, 1).
    """
    state = {name: x for name, x in network.state_dict().items() if x.is_floating_point()}
    noise = _noise(max(x.numel() for x in state.values()))
    for name, x in state.items():
        r = noise[: x.numel()].view(x.shape)
        rows = 1 if any(fnmatchcase(name, glob) for glob in as_filters) else x.shape[0] if x.dim() > 1 else None
        last = name.rpartition(".")[2]
        if last.endswith("running_mean"):
            r = 0.1 * r
        elif last.endswith("running_var"):
            r = 1 + 0.15 * (r + 1)
        elif rows is not None:
            r = r * 3**0.5 * gain / (x.numel() / rows) ** 0.5
        elif x.dim() == 1 and last == "weight":
            r = 1 + 0.2 * r
        else:
            r = 0.1 * r
        x.copy_(r.float())


def _noise(count: int) -> Tensor:
    """A fixed sequence in [-1, 1): a hash of 0, 1, 2 and so on."""
    h = (torch.arange(count) * 2654435761 + 97) % 2**32
    h = (h ^ (h >> 16)) * 1274126177 % 2**32
    h = h ^ (h >> 13)
    return 2 * (h.double() / 2**32) - 1
