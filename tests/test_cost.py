"""Are the counted costs right, against counts by hand?"""

import pytest
import timm
import torch
from torch import nn

import attnzoo
from attnzoo import examples


def test_convolution_by_hand() -> None:
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    cost = attnzoo.cost(conv, (3, 10, 12))
    assert (cost.parameters, cost.macs) == (216, 216 * 120)
    assert cost.activation_bytes == 3 * 120 * 4  # its input
    assert cost.latency_ms is None


def test_attention_products_are_counted() -> None:
    n, c = 49, 64
    cost = attnzoo.cost(attnzoo.create("self_attention", channels=c), (n, c))
    assert cost.macs == 4 * n * c * c + 2 * n * n * c


def test_gates_keep_little() -> None:
    cost = attnzoo.cost(attnzoo.create("se", channels=64), (64, 7, 7))
    assert (cost.parameters, cost.macs) == (512, 512)
    full_map = 64 * 49 * 4
    assert full_map <= cost.activation_bytes < 1.1 * full_map


@pytest.mark.parametrize("name", [name for name in attnzoo.names() if attnzoo.card(name).contract != "loss"])
def test_every_module_has_a_cost_and_is_left_alone(name: str) -> None:
    size = examples.fitting(name, (7, 7))
    module = attnzoo.create(name, **examples.arguments(name, size=size)).train()
    state = {key: value.clone() for key, value in module.state_dict().items()}
    cost = attnzoo.cost(module, examples.input_shapes(name, size=size))
    assert cost.parameters == sum(p.numel() for p in module.parameters())
    assert cost.activation_bytes >= 0  # a copy keeps nothing
    assert module.training
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_whole_networks_match_published_figures() -> None:
    cost = attnzoo.cost(timm.create_model("resnet50"), (3, 224, 224))
    assert cost.parameters == 25_557_032
    assert cost.macs == pytest.approx(4.09e9, rel=0.001)


def test_latency_on_request() -> None:
    module = nn.Conv2d(3, 3, 1).train()
    assert attnzoo.cost(module, (3, 4, 4), latency=True, repeats=3).latency_ms > 0
    assert module.training


@pytest.mark.parametrize("shape", [(), (3, 0, 4), (3.0, 4, 4), (5, 4, 4), 7])
def test_wrong_shapes_are_refused(shape: object) -> None:
    with pytest.raises(attnzoo.AttnzooError, match=r"^cost: "):
        attnzoo.cost(nn.Conv2d(3, 3, 1), shape)  # type: ignore[arg-type]
