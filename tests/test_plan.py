"""Does a model that was changed come back from its file, the same to the bit, and nothing else come in?"""

import copy
import functools
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors import safe_open
from torch import Tensor, nn

import attnzoo
from attnzoo import AttnzooError, examples, registry

WIDTHS = (16, 32, 64, 128)
MODELS: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "resnet18": (
        lambda: timm.create_model("resnet18", num_classes=10, channels=WIDTHS, zero_init_last=False),
        "layer*.*.bn2",
        "layer[23].1.conv1",
    ),
    "mobilenetv3_small_050": (
        lambda: timm.create_model("mobilenetv3_small_050", num_classes=10),
        "blocks.[2-4].*.bn2",
        "blocks.[34].*.conv_pw",
    ),
}
WORK: dict[str, Callable[[nn.Module, str, str], Any]] = {
    "insert": lambda model, at, _: attnzoo.insert(model, "cbam", at, reduction=4, example_input=images()),
    "stack": lambda model, at, _: attnzoo.insert(model, "eca", at, stack=True, example_input=images()),
    "share": lambda model, at, _: attnzoo.insert(model, "dia", at, share="stage", example_input=images()),
    "connect": lambda model, at, _: attnzoo.insert(model, "dca", at, connect=True, example_input=images()),
    "replace": lambda model, _, which: attnzoo.replace(model, "odconv", which, temperature=4.0),
    "branches": lambda model, _, which: attnzoo.replace(model, "mobile_one", which, act_layer=None, num_branches=2),
    "active": lambda model, _, which: attnzoo.replace(model, "dbb", which, act_layer=nn.SiLU),
    "fold": lambda model, *_: attnzoo.fold(model, images()),
}
ORDERS = [
    "insert",
    "share",
    "connect",
    "replace",
    "branches",
    "fold",
    "insert replace",
    "replace connect",
    "insert fold",
    "insert stack fold stack",
    "fold insert",
    "share fold",
    "replace fold",
    "active fold",
    "replace insert fold",
    "branches fold insert",
    "fold active insert",
    "fold replace share fold",
]


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def plain(which: str = "resnet18") -> nn.Module:
    return MODELS[which][0]().eval()


def shaken(model: nn.Module) -> nn.Module:
    """With weights, alphas and statistics as training leaves them: none at a special value."""
    generator = torch.Generator().manual_seed(2)
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(0.5 + noise if key.endswith("running_var") else value + 0.02 * (noise - 0.5))
    return model


def changed(order: str, which: str = "resnet18") -> nn.Module:
    model = plain(which)
    for step in order.split():
        WORK[step](shaken(model), *MODELS[which][1:])
    return shaken(model)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("which", MODELS)
def test_a_model_comes_back(which: str, order: str, tmp_path: Path) -> None:
    model, file = changed(order, which), tmp_path / "m.safetensors"
    wanted = model(images())
    attnzoo.save(model, file)
    again = plain(which)
    assert attnzoo.load(again, file) is again
    assert wanted.isfinite().all()
    assert torch.equal(again(images()), wanted)
    assert attnzoo.plan(again) == attnzoo.plan(model)
    assert [name for name, _ in again.named_parameters()] == [name for name, _ in model.named_parameters()]
    attnzoo.save(again, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()
    if "insert" in order:
        attnzoo.remove(model)
        attnzoo.remove(again)
        assert repr(again) == repr(model)
        assert torch.equal(again(images()), model(images()))


@pytest.mark.parametrize("first", ["insert", "replace", "branches", "connect"])
def test_work_goes_on_after_loading(first: str, tmp_path: Path) -> None:
    model, file = changed(first), tmp_path / "m.safetensors"
    attnzoo.save(model, file)
    again = attnzoo.load(plain(), file)
    for one in (model, again):
        attnzoo.fold(one, images())
    assert torch.equal(again(images()), model(images()))
    attnzoo.save(again, file)
    folded = attnzoo.load(plain(), file)
    assert torch.equal(folded(images()), model(images()))
    assert attnzoo.plan(folded) == attnzoo.plan(model)


PLUGS = [name for name in attnzoo.names() if attnzoo.card(name).plug_in and len(attnzoo.card(name).inputs) < 2]


@pytest.mark.parametrize("name", PLUGS)
def test_every_module_that_plugs_in_comes_back(name: str, tmp_path: Path) -> None:
    size = examples.fitting(name, (8, 8))
    of_tokens = attnzoo.card(name).contract == "tokens"
    x = examples.inputs(name, size=size)[0]

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 64) if of_tokens else nn.Conv2d(64, 64, 1), nn.ReLU()).eval()

    model, file = build(), tmp_path / "m.safetensors"
    how = {"share": "stage"} if attnzoo.card(name).carries else {}
    arguments = examples.arguments(name, size=size)
    attnzoo.insert(model, name, "0", identity=False, example_input=x, **how, **arguments)
    attnzoo.save(shaken(model), file)
    again = attnzoo.load(build(), file)
    wanted, found = (drawn(one, x) for one in (model, again))
    assert torch.equal(found, wanted)


CONVOLUTIONS = [name for name in attnzoo.names("convolution") if attnzoo.card(name).contract == "conv"]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_convolution_comes_back(name: str, tmp_path: Path) -> None:
    x = torch.randn(2, 16, 12, 16)

    def build(**form: Any) -> nn.Module:
        return nn.Sequential(nn.Conv2d(16, 16, **form), nn.BatchNorm2d(16)).eval()

    tried = 0
    for form in ({"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 1}):
        model, file = build(**form), tmp_path / "m.safetensors"
        try:
            attnzoo.replace(model, name, "0")
        except AttnzooError:
            continue  # another form than this one
        for fold in (False, True):
            if fold and not any(hasattr(m, "folded") for m in model.modules()):
                continue
            if fold:
                attnzoo.fold(model, x)
            attnzoo.save(shaken(model), file)
            assert torch.equal(drawn(attnzoo.load(build(**form), file), x), drawn(model, x))
            tried += 1
    if not tried:
        pytest.skip(f"{name} replaces none of these convolutions")


def drawn(model: nn.Module, x: Tensor) -> Tensor:
    """What a model gives, with the same random numbers where it draws some."""
    torch.manual_seed(3)
    return model(x)


def test_the_plan_goes_with_copies_pickles_and_larger_models(tmp_path: Path) -> None:
    model = changed("replace share fold")
    own = attnzoo.plan(model)
    assert json.loads(json.dumps(own)) == own
    assert attnzoo.plan(copy.deepcopy(model)) == own
    assert attnzoo.plan(pickle.loads(pickle.dumps(model))) == own
    both = nn.ModuleDict({"a": model, "b": nn.Linear(2, 2)})
    inside = attnzoo.plan(both)
    assert inside["steps"] == [{**step, "path": f"a.{step['path']}"} for step in own["steps"]]
    stage = attnzoo.plan(model.layer4)["steps"]
    assert [f"layer4.{step['path']}" for step in stage] == [
        step["path"] for step in own["steps"] if step["path"].startswith("layer4.")
    ]
    attnzoo.save(both, tmp_path / "both.safetensors")
    again = attnzoo.load(nn.ModuleDict({"a": plain(), "b": nn.Linear(2, 2)}), tmp_path / "both.safetensors")
    assert torch.equal(again["a"](images()), model(images()))


class ChannelsLast(nn.Module):
    """Features (B, H, W, C) and tokens (B, C, N)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 1)
        self.norm = nn.LayerNorm(16)
        self.mix = nn.Conv1d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.norm(self.conv(x).permute(0, 2, 3, 1)).flatten(1, 2).transpose(1, 2))


def test_layouts_come_back(tmp_path: Path) -> None:
    model, file, x = ChannelsLast().eval(), tmp_path / "m.safetensors", torch.randn(2, 3, 6, 5)
    attnzoo.insert(model, "cbam", "norm", identity=False, example_input=x, reduction=4)
    attnzoo.insert(model, "self_attention", ["mix"], identity=False, example_input=x, num_heads=2)
    attnzoo.save(shaken(model), file)
    assert {step["layout"] for step in attnzoo.plan(model)["steps"]} == {"BHWC->BCHW", "BCN->BNC"}
    assert torch.equal(attnzoo.load(ChannelsLast().eval(), file)(x), model(x))


def test_a_removed_plug_is_no_longer_planned() -> None:
    model = changed("insert replace")
    attnzoo.remove(model)
    assert {step["kind"] for step in attnzoo.plan(model)["steps"]} == {"replace"}
    assert attnzoo.plan(plain()) == {"version": 1, "steps": []}


def test_an_untouched_model_is_saved_as_well(tmp_path: Path) -> None:
    model = shaken(plain())
    attnzoo.save(model, tmp_path / "m.safetensors")
    assert torch.equal(attnzoo.load(plain(), tmp_path / "m.safetensors")(images()), model(images()))


def test_loading_again_needs_no_rebuilding(tmp_path: Path) -> None:
    """A model that holds just what the plan says, as when training goes on, takes the weights."""
    model, file = changed("insert replace"), tmp_path / "m.safetensors"
    wanted = model(images())
    attnzoo.save(model, file)
    parts = list(model.modules())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    attnzoo.load(model, file)
    assert torch.equal(model(images()), wanted)
    assert list(model.modules()) == parts


def test_the_present_temperature_counts(tmp_path: Path) -> None:
    model, file = changed("replace"), tmp_path / "m.safetensors"
    schedule = attnzoo.TemperatureSchedule(model, start=30, end=1, epochs=10)
    schedule.step()
    attnzoo.save(model, file)
    again = attnzoo.load(plain(), file)
    assert again.layer3[1].conv1.temperature == pytest.approx(27.1)
    assert torch.equal(again(images()), model(images()))


def test_classes_among_the_arguments_come_back(tmp_path: Path) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1))

    model, file = build(), tmp_path / "m.safetensors"
    attnzoo.replace(model, "mobile_one", "0", act_layer=functools.partial(nn.LeakyReLU, negative_slope=0.3))
    attnzoo.replace(model, "rep_vgg", "1", act_layer=registry.module_class("h_swish"))
    attnzoo.save(model, file)
    again = attnzoo.load(build(), file)
    assert again[0].act.negative_slope == 0.3
    assert type(again[1].act) is registry.module_class("h_swish")

    attnzoo.replace(model, "ghost", "0.branches.point.conv", act_layer=lambda: nn.ReLU())
    pickle.dumps(model)  # a lambda was given, none is kept
    with pytest.raises(AttnzooError, match=r"ghost at 0\.branches.*lambda.*Give a class of torch\.nn"):
        attnzoo.save(model, file)
    assert again[0].act.negative_slope == 0.3


def test_dtype_mode_and_random_state_stay(tmp_path: Path) -> None:
    model, file = changed("insert replace").bfloat16(), tmp_path / "m.safetensors"
    attnzoo.save(model, file)
    again = plain().bfloat16().train()
    again.layer4.eval()
    random = torch.get_rng_state()
    attnzoo.load(again, file)
    assert torch.equal(torch.get_rng_state(), random)
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
    modes = {m.training for m in again.layer4.modules()}, {m.training for m in again.layer3.modules()}
    assert modes == ({False}, {True})
    assert torch.equal(again.eval()(images().bfloat16()), model(images().bfloat16()))


class Tied(nn.Module):
    """One weight under two names, one that is no contiguous piece of memory, two halves of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.second.weight = self.first.weight
        self.turned = nn.Parameter(torch.randn(4, 6).T)
        halves = torch.randn(8)
        self.register_buffer("low", halves[:4])
        self.register_buffer("high", halves[4:])

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x)) + self.turned.sum(0)[:, None, None]
        return x * self.low[:, None, None] + self.high[:, None, None]


def test_tied_turned_and_shared_memory(tmp_path: Path) -> None:
    model, file, x = Tied(), tmp_path / "m.safetensors", torch.randn(2, 4, 8, 8)
    attnzoo.insert(model, "simam", "first", identity=False, example_input=x)
    attnzoo.save(model, file)
    with safe_open(file, framework="pt") as content:
        assert "second.weight" not in content.keys()  # noqa: SIM118
    again = attnzoo.load(Tied(), file)
    assert torch.equal(again(x), model(x))
    assert again.second.weight is again.first.weight


def test_a_compiled_model_is_saved_as_what_it_wraps(tmp_path: Path) -> None:
    model = changed("insert")
    attnzoo.save(torch.compile(model, backend="eager"), tmp_path / "m.safetensors")
    again = attnzoo.load(torch.compile(plain(), backend="eager"), tmp_path / "m.safetensors")
    assert torch.equal(again(images()), model(images()))


def test_a_file_is_exchanged_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, file = changed("insert"), tmp_path / "m.safetensors"
    attnzoo.save(model, file)
    before = file.read_bytes()

    def breaks(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("attnzoo.surgery.checkpoint.save_file", breaks)
    with pytest.raises(AttnzooError, match=r"save: cannot write .* no space left"):
        attnzoo.save(model, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("model", "where", "says"),
    [
        (nn.Linear(2, 2), "no/such/folder/m.safetensors", "cannot write"),
        (nn.Linear(2, 2), ".", "cannot write"),
        (nn.Linear(2, 2, device="meta"), "m.safetensors", "weight is no dense tensor with values"),
    ],
)
def test_what_cannot_be_saved(model: nn.Module, where: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(AttnzooError, match=says):
        attnzoo.save(model, tmp_path / where)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def look(model: nn.Module) -> tuple[Any, ...]:
    """Everything that must not change when a load fails."""
    parts = [(path, m, m.training, dict(vars(m)["_forward_hooks"])) for path, m in model.named_modules()]
    return parts, {key: value.clone() for key, value in model.state_dict().items()}


def refused(model: nn.Module, file: Path, says: str) -> None:
    parts, weights = look(model)
    with pytest.raises(AttnzooError, match=says):
        attnzoo.load(model, file)
    found, values = look(model)
    assert found == parts
    assert values.keys() == weights.keys()
    assert all(torch.equal(values[key], weights[key]) for key in weights)


def rewritten(file: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], Any]) -> None:
    """Let something be done to the plan and the weights in a file; text that it gives takes the plan's place."""
    with safe_open(file, framework="pt") as content:
        data = json.loads(content.metadata()["attnzoo"])
        state = {key: content.get_tensor(key).clone() for key in content.keys()}  # noqa: SIM118
    text = change(data, state)
    text = text if isinstance(text, str) else json.dumps(data)
    safetensors.torch.save_file(state, file, metadata={"attnzoo": text})


def small(changed: bool = False) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Sequential(nn.Conv2d(8, 8, 1)))
    if changed:
        attnzoo.insert(model, "se", "1", reduction=2, example_input=torch.randn(1, 8, 6, 6))
        attnzoo.replace(model, "odconv", "0")
    return model


def in_step(number: int, **fields: Any) -> Callable[..., None]:
    """Change some fields of a step: 0 replaces, 1 inserts."""
    return lambda data, _: data["steps"][number].update(fields)


def link(**fields: Any) -> Callable[..., None]:
    chained = {
        "name": "dia",
        "arguments": {"channels": 8},
        "layout": "",
        "chain": 0,
        "first": True,
        "last": True,
        "shared": False,
    }
    return in_step(1, **{**chained, **fields})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data, _: data.update(version=2), "has the version 2, but this attnzoo knows 1"),
        (lambda data, _: data.update(version=True), "has the version True"),
        (lambda data, _: data.pop("steps"), "expected a plan"),
        (lambda data, _: data.update(steps={"a": 1}), "expected a plan"),
        (lambda *_: "[1, 2]", "expected a plan"),
        (lambda *_: "{", "no JSON of plain depth"),
        (lambda *_: "[" * 100_000, "no JSON of plain depth"),
        (lambda *_: '{"version": 1, "steps": [' + "[" * 900 + "]" * 900 + "]}", "step 0 of its plan is none of"),
        (lambda *_: json.dumps({"version": 1, "steps": ["x" * 2**24]}), "16,777,2.. characters"),
        (lambda data, _: data["steps"].insert(0, 7), "step 0 of its plan is none of insert"),
        (in_step(0, kind="exec"), "step 0 of its plan is none of insert"),
        (in_step(0, kind=["insert"]), "step 0 of its plan is none of insert"),
        (in_step(0, more=1), "step 0 of its plan does not hold what 'replace' needs"),
        (in_step(1, identity=1), r"step 1 .* needs: .*identity \(bool\)"),
        (in_step(1, chain=0), r"step 1 .* needs: .*chain \(int\)"),
        (in_step(1, name="setattr"), "insert at '1': unknown module 'setattr'"),
        (in_step(1, name="odconv"), "insert at '1': odconv does not plug in there"),
        (in_step(1, layout="BCN->BNC"), "insert at .1.: se takes no layout"),
        (in_step(1, name="resnet20"), "insert at '1': resnet20 does not plug in there"),
        (in_step(1, path="3"), "insert at '3': the model has no such submodule"),
        (in_step(1, path="1.__class__"), "insert at '1.__class__': the model has no such submodule"),
        (in_step(1, path="_modules"), "insert at '_modules': the model has no such submodule"),
        (in_step(1, path="..1"), "insert at '..1': the model has no such submodule"),
        (in_step(1, path="2"), "insert at '2': that is a container"),
        (in_step(1, arguments={"channels": "8"}), "channels='8' is not an integer"),
        (in_step(1, arguments={"channels": 8, "color": 1}), "unknown argument 'color'"),
        (in_step(1, arguments={"channels": 10**7, "reduction": 1}), r"\(10000000,.* expected|has the shape"),
        (in_step(1, arguments={"channels": 10**30}), "insert at '1': "),
        (in_step(1, arguments={"channels": {"torch.nn": "functional"}}), "stands for no class"),
        (in_step(1, arguments={"channels": {"torch.nn": "Module.forward"}}), "stands for no class"),
        (in_step(1, arguments={"channels": {"os": "system"}}), "stands for no class"),
        (in_step(0, path="1"), "replace at '1': expected an nn.Conv2d inside the model, got BatchNorm2d"),
        (in_step(0, path=""), "replace at '': expected an nn.Conv2d inside the model"),
        (in_step(0, name="se"), "replace at '0': se does not stand in for a convolution"),
        (lambda data, _: data["steps"].append({"path": "1", "kind": "fold"}), "BatchNorm2d has no form for inference"),
        (lambda data, _: data["steps"].append({"path": "1", "kind": "take_norm"}), "cannot take in a BatchNorm"),
        (lambda data, _: data["steps"].append({"path": "0", "kind": "drop_norm"}), "expected a BatchNorm2d"),
        (lambda data, _: data["steps"].append(data["steps"][1]), "insert at '1': holds 'se' already"),
        (link(shared=True), "no earlier dia of its chain"),
        (link(name="se"), "se does not plug in there"),
        (lambda data, _: data["steps"].pop(), r"unexpected 1\.attnzoo\.alpha; unexpected 1\.attnzoo\.module"),
        (lambda data, _: data["tied"].update({"0.weight": "nothing"}), "its list of tied weights"),
        (lambda data, _: data.update(tied=[1]), "its list of tied weights"),
        (lambda data, _: data["tied"].update({"more": "1.weight"}), "unexpected more"),
        (lambda _, state: state.pop("1.attnzoo.alpha") and None, r"missing 1\.attnzoo\.alpha; build the model"),
        (lambda _, state: state.update(x=torch.ones(1)), "unexpected x"),
        (
            lambda _, state: state.update({"1.weight": torch.ones(9)}),
            r"1\.weight has the shape \(9,\), expected \(8,\)",
        ),
        (lambda _, state: state.update({"1.weight": torch.ones(8).long()}), r"1\.weight holds torch.int64, expected"),
    ],
)
def test_a_tampered_file_changes_nothing(change: Callable[..., Any], says: str, tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    attnzoo.save(small(changed=True), file)
    rewritten(file, change)
    refused(small(), file, rf"^load: .*m\.safetensors.*{says}")


def test_damaged_files_and_other_files_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    attnzoo.save(small(changed=True), file)
    whole = file.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        refused(small(), file, "cut off, damaged or no safetensors file")
    file.write_bytes(b"\xff" * 400)
    refused(small(), file, "cut off, damaged or no safetensors file")
    for zipped in (True, False):
        torch.save(small().state_dict(), file, _use_new_zipfile_serialization=zipped)
        refused(small(), file, "it is a pickle, which may run any code and is not opened")
    safetensors.torch.save_model(small(), str(file))
    refused(small(), file, "holds no plan, only weights")
    refused(small(), tmp_path, "there is no such file")
    refused(small(), tmp_path / "other.safetensors", "there is no such file")


def test_other_models_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    attnzoo.save(changed("insert replace fold"), file)
    refused(small(), file, "insert|take_norm|the model has no such submodule")
    refused(
        timm.create_model("resnet18", num_classes=9, channels=WIDTHS),
        file,
        r"fc\.weight has the shape \(10, 128\), expected",
    )
    refused(timm.create_model("resnet34", num_classes=10, channels=WIDTHS), file, "missing layer")
    already = changed("insert")
    refused(already, file, r"holds insertions.* already, the first at 'layer1\.0\.bn2'; give it as it is built")
    with torch.device("meta"):
        empty = timm.create_model("resnet18")
    with pytest.raises(AttnzooError, match=r"conv1\.weight is on the meta device"):
        attnzoo.load(empty, file)


class Hub(nn.Module, PyTorchModelHubMixin):
    """A model that inserts when it is built, as users of the Hub write theirs."""

    def __init__(self, attention: str | None = "eca", num_classes: int = 10) -> None:
        super().__init__()
        self.backbone = timm.create_model("resnet10t", num_classes=num_classes)
        if attention is not None:
            attnzoo.insert(self.backbone, attention, "layer*.*.bn2", identity=False, example_input=images())

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(x)


def test_the_hub_takes_models_of_ours(tmp_path: Path) -> None:
    model = shaken(Hub(attention="se", num_classes=5).eval())
    wanted = model(images())
    model.save_pretrained(tmp_path / "hub")
    again = Hub.from_pretrained(tmp_path / "hub")
    assert torch.equal(again(images()), wanted)

    attnzoo.save(model, tmp_path / "hub" / "model.safetensors")  # in place of the mixin's own file
    assert torch.equal(Hub.from_pretrained(tmp_path / "hub", strict=True)(images()), wanted)
    bare = Hub(attention=None, num_classes=5).eval()
    assert torch.equal(attnzoo.load(bare, tmp_path / "hub" / "model.safetensors")(images()), wanted)


def test_the_hub_takes_chains_that_share_weights(tmp_path: Path) -> None:
    class Chained(Hub):
        def __init__(self) -> None:
            super().__init__(attention=None)
            attnzoo.insert(self.backbone, "dia", "layer*.*.bn2", share="stage", example_input=images())

    model = shaken(Chained().eval())
    model.save_pretrained(tmp_path)
    assert torch.equal(Chained.from_pretrained(tmp_path, strict=True)(images()), model(images()))
