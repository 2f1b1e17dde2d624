"""Does what is pretrained stay pretrained: identity to the bit, frozen where asked, trained at rates of its own?"""

import copy
import pickle

import pytest
import timm
import torch
from torch import Tensor, nn

import attnzoo
from attnzoo import AttnzooError, examples

BLOCKS = "layer*.*.bn2"
SMALL = torch.ones(1, 3, 32, 32)


def build() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet10t", num_classes=10, zero_init_last=False)


def images(batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(images()).square().mean().backward()
    optimizer.step()


def pretrained(x: Tensor) -> nn.Module:
    """Convolutions and BatchNorms around the place of a map, with statistics as training leaves them."""
    torch.manual_seed(0)
    c = x.shape[1]
    model = nn.Sequential(
        nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU()
    )
    for norm in (model[1], model[3]):
        nn.init.uniform_(norm.running_mean, -0.3, 0.3)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.bias, -0.3, 0.3)
    return model.eval()


MAPS = [
    name
    for name in attnzoo.names(plug_in=True)
    if attnzoo.card(name).contract == "feature" and len(attnzoo.card(name).inputs) < 2
]


@pytest.mark.parametrize("name", MAPS)
def test_the_start_is_the_identity_to_the_bit(name: str) -> None:
    size = examples.fitting(name, (8, 8))
    x = examples.inputs(name, size=size)[0]
    before = pretrained(x)
    after = copy.deepcopy(before)
    attnzoo.insert(after, name, "1", example_input=x, **examples.arguments(name, size=size))
    alone = nn.Sequential(after[1])  # what the next layer sees, layout and all
    with torch.no_grad():
        assert torch.equal(after(x), before(x))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(after(x), before(x))
            assert after(x).dtype == before(x).dtype
        for model in (before, after):
            model.to(memory_format=torch.channels_last)
        laid = x.contiguous(memory_format=torch.channels_last)
        assert torch.equal(after(laid), before(laid))
        assert alone(laid).stride() == nn.Sequential(before[1])(laid).stride()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(after(laid), before(laid))


def test_only_what_was_plugged_in_trains() -> None:
    model = build()
    before = copy.deepcopy(model.state_dict())
    attnzoo.insert(model, "cbam", BLOCKS, reduction=4, freeze="backbone", example_input=SMALL)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable
    assert trainable == {name for name, _ in model.named_parameters() if ".attnzoo." in name}
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        step(model, optimizer)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items()), "statistics or weights moved"
    assert any((after[key] != 0).any() for key in after if key.endswith("alpha"))
    norms = [m for path, m in model.named_modules() if ".attnzoo." in path and isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all(norm.num_batches_tracked == 2 for norm in norms)


def test_a_frozen_backbone_computes_the_same_in_both_modes() -> None:
    model = build()
    attnzoo.insert(model, "eca", BLOCKS, freeze="backbone", example_input=SMALL)
    wanted = model.eval()(images())
    assert torch.equal(model.train()(images()), wanted)
    clone = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert torch.equal(clone.train()(images()), wanted)
    compiled = torch.compile(clone.train(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images()), wanted, rtol=1e-4, atol=1e-4)


def test_what_is_unfrozen_by_hand_moves_again() -> None:
    model = build()
    attnzoo.insert(model, "eca", BLOCKS, freeze="backbone", example_input=SMALL)
    model.layer4.requires_grad_(True)
    mean, still = model.layer4[0].bn1.running_mean.clone(), model.layer3[0].bn1.running_mean.clone()
    model.train()(images())
    assert not torch.equal(model.layer4[0].bn1.running_mean, mean)
    assert torch.equal(model.layer3[0].bn1.running_mean, still)


def test_removing_unfreezes_what_was_frozen() -> None:
    model = build()
    model.conv1.requires_grad_(False)  # by the user, before
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    for _ in range(2):
        attnzoo.insert(model, "eca", "layer1.*.bn2", freeze="backbone", example_input=SMALL)
        attnzoo.insert(model, "se", "layer2.*.bn2", freeze="backbone", example_input=SMALL)
        assert not model.fc.weight.requires_grad
        assert model.layer1[0].bn2.attnzoo.alpha.requires_grad
        attnzoo.remove(model)
        assert {name: p.requires_grad for name, p in model.named_parameters()} == flags
        assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_a_frozen_model_folds() -> None:
    model = build()
    attnzoo.insert(model, "eca", BLOCKS, freeze="backbone", example_input=SMALL)
    report = attnzoo.fold(model.eval(), images())
    assert not report.kept
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_freezing_keeps_what_was_replaced_trainable() -> None:
    model = build()
    attnzoo.replace(model, "odconv", "layer4.*.conv2")
    attnzoo.insert(model, "eca", "layer1.*.bn2", freeze="backbone", example_input=SMALL)
    trainable = {name.split(".attnzoo.")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert "layer1.0.bn2" in trainable
    assert all(name.startswith(("layer4.0.conv2.", "layer1.0.bn2")) for name in trainable)


def test_nothing_is_frozen_by_a_wrong_word_or_a_failure() -> None:
    model = build()
    with pytest.raises(AttnzooError, match=r"eca: freeze='all' is unknown; use one of backbone"):
        attnzoo.insert(model, "eca", BLOCKS, freeze="all", example_input=SMALL)
    with pytest.raises(AttnzooError, match="matches no submodule"):
        attnzoo.insert(model, "eca", "nowhere", freeze="backbone", example_input=SMALL)
    assert all(p.requires_grad for p in model.parameters())
    assert "attnzoo" not in repr(model)


def test_groups_hold_every_trainable_parameter_once() -> None:
    model = build()
    attnzoo.insert(model, "dia", BLOCKS, share="stage", example_input=SMALL)
    attnzoo.replace(model, "rep_vgg", "layer3.*.conv1", act_layer=None)
    model.fc.weight.requires_grad_(False)
    groups = attnzoo.param_groups(model, lr=0.01, module_lr=0.1, weight_decay=1e-4)
    names = {id(p): name for name, p in model.named_parameters()}
    held = {group["name"]: {names[id(p)] for p in group["params"]} for group in groups}
    assert list(held) == ["backbone", "backbone, no decay", "modules", "modules, no decay"]
    assert [group["lr"] for group in groups] == [0.01, 0.01, 0.1, 0.1]
    assert [group["weight_decay"] for group in groups] == [1e-4, 0.0, 1e-4, 0.0]
    flat = [id(p) for group in groups for p in group["params"]]
    assert len(flat) == len(set(flat))
    assert set(flat) == {id(p) for p in model.parameters() if p.requires_grad}
    assert {"conv1.0.weight", "layer3.0.conv2.weight"} < held["backbone"]
    assert {"fc.bias", "bn1.weight", "layer3.0.bn1.bias"} < held["backbone, no decay"]
    assert {"layer3.0.conv1.branches.convs.0.conv.weight"} < held["modules"]
    assert {"layer1.0.bn2.attnzoo.alpha"} < held["modules, no decay"]
    assert all(".attnzoo." in name or name.startswith("layer3.0.conv1.") for name in held["modules"])
    torch.optim.AdamW(groups).step()


def test_groups_skip_the_frozen_and_take_norms_of_any_rank() -> None:
    class ScaleNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    model = nn.Sequential(nn.Conv2d(3, 4, 3), ScaleNorm(), nn.LayerNorm([4, 6, 6]), nn.Flatten(), nn.Linear(144, 2))
    (decayed, not_decayed) = attnzoo.param_groups(model, lr=0.1, weight_decay=0.01)
    assert [p.shape for p in decayed["params"]] == [(4, 3, 3, 3), (2, 144)]
    assert len(not_decayed["params"]) == 5
    assert decayed["lr"] == 0.1

    attnzoo.insert(model, "se", "0", reduction=2, freeze="backbone", example_input=torch.ones(1, 3, 8, 8))
    groups = attnzoo.param_groups(model, lr=0.1, module_lr=1.0)
    assert {group["name"] for group in groups} == {"modules", "modules, no decay"}

    model.requires_grad_(False)
    with pytest.raises(AttnzooError, match=r"no parameter requires a gradient; unfreeze some"):
        attnzoo.param_groups(model, lr=0.1)
    with pytest.raises(AttnzooError, match=r"param_groups: module_lr=-1 is not a number of at least 0"):
        attnzoo.param_groups(model, lr=0.1, module_lr=-1)
