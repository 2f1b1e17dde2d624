"""Does no module put a BatchNorm between a map of one memory layout and a gradient of the other?

torch takes a path for those that is four to eight times slower.
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
    """Collects the strides of gradients and maps that meet in a BatchNorm and lie differently."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[tuple[int, ...], ...]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "batch_norm_backward" in function.__name__:
            gradient, x = args[:2]
            if x.dim() == 4 and {layout(gradient), layout(x)} == {"contiguous", "channels last"}:
                self.found.append((x.shape, gradient.stride(), x.stride()))
        return function(*args, **(kwargs or {}))


def layout(x: Tensor) -> str:
    contiguous, channels_last = x.is_contiguous(), x.is_contiguous(memory_format=torch.channels_last)
    if contiguous and channels_last:
        return "either"
    return "contiguous" if contiguous else "channels last" if channels_last else "a part of something"


def mixtures(name: str) -> list[tuple[tuple[int, ...], ...]]:
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


def test_a_mixture_is_noticed() -> None:
    norm = torch.nn.BatchNorm2d(3)
    y = norm(torch.rand(2, 3, 4, 5, requires_grad=True).to(memory_format=torch.channels_last))
    with Mixtures() as watching:
        y.backward(torch.rand(y.shape))
    assert watching.found
