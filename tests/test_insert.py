"""Do modules plug into other people's models, without disturbing them, and come out again?"""

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import nn

import attnzoo

MODELS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "timm resnet50": (lambda: timm.create_model("resnet50", zero_init_last=False), "layer*.*.bn3"),
    "timm convnext_tiny": (lambda: timm.create_model("convnext_tiny"), "stages.*.blocks.*.conv_dw"),
    "timm mobilenetv3_small_100": (lambda: timm.create_model("mobilenetv3_small_100"), "blocks.*.*.bn2"),
    "torchvision resnet18": (lambda: torchvision.models.resnet18(), "layer*.*.bn2"),
}
on_models = pytest.mark.parametrize("which", MODELS)


def build(which: str) -> tuple[nn.Module, str]:
    torch.manual_seed(0)
    make, at = MODELS[which]
    return make().eval(), at


def images(size: int = 64, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


@on_models
def test_outputs_unchanged_and_gradients_flow(which: str) -> None:
    model, at = build(which)
    before = model(images())
    report = attnzoo.insert(model, "se", at=at)
    assert len(report.sites) >= 8
    after = model(images())
    assert torch.equal(after, before)
    after.square().sum().backward()
    alphas = [p for name, p in model.named_parameters() if name.endswith("attnzoo.alpha")]
    assert len(alphas) == len(report.sites)
    assert all(p.grad is not None and p.grad.abs() > 0 for p in alphas)
    with torch.no_grad():
        for alpha in alphas:
            alpha.fill_(0.5)
    model.zero_grad()
    model(images()).square().sum().backward()
    gates = [m.module for m in model.modules() if hasattr(m, "alpha")]
    assert sum(p.numel() for gate in gates for p in gate.parameters()) + len(alphas) == sum(report.parameters)
    assert all(any(p.grad.abs().max() > 0 for p in gate.parameters()) for gate in gates)


@on_models
def test_checkpoint_loads_before_and_after(which: str) -> None:
    pretrained, at = build(which)
    weights = copy.deepcopy(pretrained.state_dict())
    model = MODELS[which][0]().eval()
    attnzoo.insert(model, "eca", at=at)
    assert set(weights) < set(model.state_dict())
    model.load_state_dict(weights, strict=True)
    assert torch.equal(model(images()), pretrained(images()))

    grown = {key: value + 1 if "attnzoo" in key else value for key, value in model.state_dict().items()}
    model.load_state_dict(grown, strict=True)
    assert all((p == 1).all() for name, p in model.named_parameters() if name.endswith("alpha"))

    lacking = dict(grown)
    del lacking[next(key for key in lacking if key.endswith("attnzoo.alpha"))]
    with pytest.raises(RuntimeError, match=r"attnzoo\.alpha"):
        model.load_state_dict(lacking, strict=True)


@on_models
def test_remove_restores_exactly(which: str) -> None:
    model, at = build(which)
    model.train()
    model.get_submodule("layer1" if "resnet" in which else "stages" if "convnext" in which else "blocks").eval()
    names, modes = repr(model), [module.training for module in model.modules()]
    keys, hooks = list(model.state_dict()), [dict(m._forward_hooks) for m in model.modules()]
    attnzoo.insert(model, "cbam", at=at, reduction=4)
    attnzoo.remove(model)
    assert repr(model) == names
    assert list(model.state_dict()) == keys
    assert [module.training for module in model.modules()] == modes
    assert [dict(m._forward_hooks) for m in model.modules()] == hooks
    with pytest.raises(attnzoo.AttnzooError, match="holds no plugged-in module"):
        attnzoo.remove(model)


@on_models
def test_copies_and_pickles(which: str) -> None:
    model, at = build(which)
    attnzoo.insert(model, "simam", at=at, identity=False)
    wanted = model(images())
    clone = copy.deepcopy(model)
    attnzoo.remove(model)
    assert torch.equal(clone(images()), wanted)
    assert not torch.equal(model(images()), wanted)
    assert torch.equal(pickle.loads(pickle.dumps(clone))(images()), wanted)


@on_models
def test_exports(which: str) -> None:
    model, at = build(which)
    attnzoo.insert(model, "eca", at=at, identity=False)
    x = images()
    wanted = model(x)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(program.module()(x), wanted)
    torch.testing.assert_close(program.module()(x[:1]), wanted[:1], rtol=1e-3, atol=1e-4)


@on_models
def test_compiles_and_goes_to_onnx(which: str) -> None:
    import onnxruntime

    model, at = build(which)
    attnzoo.insert(model, "coord", at=at, identity=False)
    x = images()
    wanted = model(x)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), wanted, rtol=1e-4, atol=1e-4)
    buffer = io.BytesIO()
    torch.onnx.export(model, (x,), dynamo=True, verbose=False).save(buffer)
    session = onnxruntime.InferenceSession(buffer.getvalue())
    (output,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), wanted, rtol=1e-3, atol=1e-4)


def test_compiles_with_inductor() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    attnzoo.insert(model, "se", at="1", reduction=2, identity=False)
    wanted = model(images(16))
    torch.testing.assert_close(torch.compile(model, fullgraph=True)(images(16)), wanted)


def test_placement_by_list_and_predicate() -> None:
    model, _ = build("torchvision resnet18")
    report = attnzoo.insert(model, "eca", at=["layer1.0.bn2", "layer4.*.bn2"])
    assert [(site.path, site.channels, site.size) for site in report.sites] == [
        ("layer1.0.bn2", 64, (56, 56)),
        ("layer4.0.bn2", 512, (7, 7)),
        ("layer4.1.bn2", 512, (7, 7)),
    ]
    attnzoo.remove(model)
    report = attnzoo.insert(model, "eca", at=lambda path, module: path.startswith("layer2") and path.endswith("bn1"))
    assert [site.path for site in report.sites] == ["layer2.0.bn1", "layer2.1.bn1"]
    assert "layer2.0.bn1" in str(report)
    assert "C=128" in str(report)


def test_globs_stay_within_a_name_unless_doubled() -> None:
    model, _ = build("torchvision resnet18")
    assert [site.path for site in attnzoo.sites(model, "layer1.*")] == ["layer1.0", "layer1.1"]
    assert len(attnzoo.sites(model, "layer1.**")) == len(list(model.layer1.modules())) - 1
    assert len(attnzoo.sites(model, "**.bn2")) == 8


def test_sequential_hosts_run_the_plug_once() -> None:
    """A child added to a Sequential would join its loop; the plug goes to the Sequential's last child."""
    model, _ = build("torchvision resnet18")
    before = model.layer4[-1]
    report = attnzoo.insert(model, "se", at="layer4", identity=False)
    assert [site.path for site in report.sites] == ["layer4"]
    assert len(model.layer4) == 2
    assert model.layer4[-1] is before
    runs = []
    model.layer4[-1].attnzoo.register_forward_hook(lambda *_: runs.append(1))
    model(images())
    assert len(runs) == 1


def test_tokens_go_into_transformers() -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", depth=2).eval()
    x = torch.randn(1, 3, 224, 224)
    before = model(x)
    report = attnzoo.insert(model, "self_attention", at="blocks.*.mlp", num_heads=3)
    assert report.sites[0].contract == "tokens"
    assert torch.equal(model(x), before)


def test_map_size_is_filled_in() -> None:
    model, _ = build("torchvision resnet18")
    attnzoo.insert(model, "da_module", at="layer4.1.bn2")
    assert (model.layer4[1].bn2.attnzoo.module.height, model.layer4[1].bn2.attnzoo.module.width) == (7, 7)


class Strange(nn.Module):
    """Runs over its own children, returns odd things, shares a layer between two widths."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = nn.ModuleDict({"a": nn.Conv2d(3, 8, 1), "b": nn.ReLU()})
        self.pair = Pair()
        self.own_loop = OwnLoop()
        self.idle = nn.Conv2d(3, 3, 1)
        self.shared = nn.ReLU()
        self.to_linear = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shared(x)
        for child in self.loop.values():
            x = child(x)
        x = self.own_loop(self.shared(self.pair(x)[0]))
        return self.to_linear(x.permute(0, 2, 3, 1)).sum((1, 2))


class Pair(nn.Module):
    """Gives two tensors."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class OwnLoop(nn.Module):
    """Runs all of its children, whichever they are."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for child in self.children():
            x = child(x)
        return x


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("loop", "loop does not run"),
        ("pair", "gives no single tensor"),
        ("own_loop", "own_loop is a container that runs over its own children"),
        ("idle", "idle does not run"),
        ("shared", "shared runs 2 times, with different numbers of channels"),
        ("stem.*", r"at='stem.\*' matches no submodule. These would: .*loop.a"),
        ([], "names no submodule"),
        (["loop.a", "nothing"], "at='nothing' matches no submodule"),
        (lambda path, module: False, "predicate matches no submodule"),
    ],
)
def test_impossible_places_say_why_and_change_nothing(at: object, message: str) -> None:
    model = Strange()
    before = repr(model), list(model.state_dict())
    with pytest.raises(attnzoo.AttnzooError, match=message):
        attnzoo.insert(model, "eca", at=at)  # type: ignore[arg-type]
    assert (repr(model), list(model.state_dict())) == before
    assert not any(module._forward_hooks for module in model.modules())


def test_no_match_offers_the_nearest_names() -> None:
    model, _ = build("torchvision resnet18")
    with pytest.raises(attnzoo.AttnzooError, match=r"These would: layer\*\.\*\.bn\*, "):
        attnzoo.insert(model, "se", at="layer*.*.norm2")


def test_wrong_modules_are_refused() -> None:
    model, at = build("torchvision resnet18")
    with pytest.raises(attnzoo.AttnzooError, match=r"layer1.0.bn2 gives maps .* but self_attention takes tokens"):
        attnzoo.insert(model, "self_attention", at=at)
    with pytest.raises(attnzoo.AttnzooError, match="dual_attention: does not plug in, its contract is 'head'"):
        attnzoo.insert(model, "dual_attention", at=at)
    with pytest.raises(attnzoo.AttnzooError, match="unknown argument 'reductoin'; did you mean reduction"):
        attnzoo.insert(model, "se", at=at, reductoin=4)
    with pytest.raises(attnzoo.AttnzooError, match="reduction=512 leaves no channels of 64; use at most 64"):
        attnzoo.insert(model, "se", at=at, reduction=512)
    assert "attnzoo" not in repr(model)


def test_a_site_takes_one_plug() -> None:
    model, at = build("torchvision resnet18")
    attnzoo.insert(model, "se", at="layer2.0.bn2")
    keys = list(model.state_dict())
    with pytest.raises(attnzoo.AttnzooError, match=r"eca: layer2\.0\.bn2 holds 'se' already"):
        attnzoo.insert(model, "eca", at=at)
    assert list(model.state_dict()) == keys


def test_a_model_that_cannot_be_probed_says_how() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    with pytest.raises(attnzoo.AttnzooError, match="Give an example_input"):
        attnzoo.sites(model)
    attnzoo.sites(nn.Sequential(nn.Conv1d(4, 4, 1)), at="0", example_input=torch.randn(1, 4, 9))


def test_probing_leaves_no_trace() -> None:
    model = torchvision.models.resnet18().train()
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    attnzoo.sites(model)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in model.modules())
