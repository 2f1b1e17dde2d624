"""Does no module store, in training, a tensor that grows faster than its input, unless its method needs one?"""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import attnzoo
from attnzoo import examples
from attnzoo.modules.self_attention import emsa

SIDES = (16, 32)
MOST = 1.2  # the exponent of the largest tensor over the number of places
GROWING = {
    "da_module": "it learns a weight for every pair of places",
    "generalized_attention": "its queries say something of the H + W rows and columns of the keys",
    "ia": "a softmax takes the products of two other softmaxes over all pairs",
    "psa_point": "it predicts a weight for every pair of places",
}
LARGE = 2**16  # entries of an input: what needs more is made of modules that are here themselves


class Largest(TorchDispatchMode):
    """Collects the entries of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 1

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for x in tree_leaves(made):
            if isinstance(x, Tensor) and x.device.type != "meta":
                self.entries = max(self.entries, x.untyped_storage().nbytes() // x.element_size())
        return made


def largest(name: str, side: int) -> int:
    torch.manual_seed(0)
    size = examples.fitting(name, (side, side))
    module = attnzoo.create(name, **examples.arguments(name, size=size)).train()
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in examples.inputs(name, size=size)]
    with Largest() as watching, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = tree_leaves(module(*inputs))
        total = torch.stack([y.sum() for y in outputs if isinstance(y, Tensor) and y.is_floating_point()]).sum()
        if total.requires_grad:
            total.backward()
    return watching.entries


def places(name: str, side: int) -> int:
    return math.prod(examples.fitting(name, (side, side)))


def light(name: str) -> bool:
    size = examples.fitting(name, (SIDES[0], SIDES[0]))
    return max(math.prod(shape) for shape in examples.input_shapes(name, size=size)) <= LARGE


@pytest.mark.parametrize("name", [name for name in attnzoo.names() if light(name)])
def test_the_largest_tensor_grows_as_the_places(name: str) -> None:
    small, large = (largest(name, side) for side in SIDES)
    exponent = math.log(large / small) / math.log(places(name, SIDES[1]) / places(name, SIDES[0]))
    if name in GROWING:
        assert exponent > MOST, "no longer an exception"
    else:
        assert exponent <= MOST, f"from {small} to {large} entries"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("self_attention", {"key_dim": 4, "dropout": 0.1}),
        ("emsa", {"key_dim": 4, "attn_drop": 0.1}),
        ("fan_attention", {"attn_drop": 0.1}),
        ("non_local", {"sub_sample": False, "mode": "gaussian"}),
        ("non_local", {"sub_sample": False, "mode": "dot_product"}),
        ("non_local", {"sub_sample": False, "mode": "concatenation"}),
        ("aft", {"simple": True}),
    ],
)
def test_so_it_does_in_other_forms(name: str, arguments: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    given = examples.arguments
    monkeypatch.setattr(examples, "arguments", lambda name, **how: given(name, **how) | arguments)
    test_the_largest_tensor_grows_as_the_places(name)


def test_mixed_heads_are_normalised_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor of a map cut into parts is no larger than they, values and gradients are the whole one's."""
    torch.manual_seed(0)
    module = attnzoo.create("emsa", channels=16, num_heads=4, apply_transform=True).double()
    x = torch.randn(2, 16, 12, 11, dtype=torch.float64, requires_grad=True)
    found = []
    for entries in (2**24, 2**14):
        monkeypatch.setattr(emsa, "ENTRIES", entries)
        with Largest() as watching:
            y = module(x)
            gradients = torch.autograd.grad(y.square().sum(), [x, module.mix.weight, module.kv.weight])
        found.append((y, *gradients))
        assert (watching.entries <= 2**14) == (entries == 2**14)
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-10)
