"""Does no module mix maps of both memory layouts in a BatchNorm's backward pass or in torch.cat?

torch takes paths for those that are four to eight times slower.
"""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import attnzoo
from attnzoo import examples


class Mixtures(TorchDispatchMode):
    """Collects the strides of maps and gradients that meet in a BatchNorm or a torch.cat and lie differently."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[object, ...]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        meeting = args[:2] if "batch_norm_backward" in function.__name__ else ()
        if function is torch.ops.aten.cat.default:
            meeting = args[0]
        maps = [x for x in meeting if x.dim() == 4]
        if {"contiguous", "channels last"} <= {layout(x) for x in maps}:
            self.found.append((str(function), *(x.stride() for x in maps)))
        return function(*args, **(kwargs or {}))


def layout(x: Tensor) -> str:
    contiguous, channels_last = x.is_contiguous(), x.is_contiguous(memory_format=torch.channels_last)
    if contiguous and channels_last:
        return "either"
    return "contiguous" if contiguous else "channels last" if channels_last else "a part of something"


def mixtures(name: str) -> list[tuple[object, ...]]:
    torch.manual_seed(0)
    size = examples.fitting(name, (12, 10))
    module = attnzoo.create(name, **examples.arguments(name, size=size)).train()
    inputs = examples.inputs(name, size=size)
    for x in tree_leaves(inputs):
        if x.is_floating_point():
            x.requires_grad_()
    with Mixtures() as watching, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = [y for y in tree_leaves(module(*inputs)) if isinstance(y, Tensor) and y.requires_grad]
        if outputs:
            torch.autograd.backward(outputs, [torch.rand(y.shape) for y in outputs])
    return watching.found


@pytest.mark.parametrize("name", attnzoo.names())
def test_layouts(name: str) -> None:
    assert not mixtures(name)


def test_a_mixture_in_cat_is_noticed() -> None:
    x = torch.rand(2, 3, 4, 5)
    with Mixtures() as watching:
        torch.cat([x, x.to(memory_format=torch.channels_last)], dim=1)
    assert watching.found


def test_a_mixture_in_a_norm_is_noticed() -> None:
    norm = torch.nn.BatchNorm2d(3)
    y = norm(torch.rand(2, 3, 4, 5, requires_grad=True).to(memory_format=torch.channels_last))
    with Mixtures() as watching:
        y.backward(torch.rand(y.shape))
    assert watching.found
