"""Does replace put modules where convolutions stood, with their weights where the mathematics allows?"""

import copy
import itertools
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

import attnzoo
from attnzoo import AttnzooError, registry

FORMS = {
    "plain": {"kernel_size": 3, "padding": 1, "bias": False},
    "bias": {"kernel_size": 3, "padding": 1},
    "strided": {"kernel_size": 3, "stride": 2, "padding": 1, "bias": False},
    "dilated": {"kernel_size": 3, "dilation": 2, "padding": 2, "bias": False},
    "grouped": {"kernel_size": 3, "padding": 1, "groups": 4, "bias": False},
    "unpadded": {"kernel_size": 3, "bias": False},
    "pointwise": {"kernel_size": 1, "bias": False},
    "depthwise": {"kernel_size": 3, "padding": 1, "groups": 16, "bias": False},
    "same": {"kernel_size": 3, "padding": "same", "bias": False},
}
TAKING = [name for name in attnzoo.names() if hasattr(registry.module_class(name), "take_over")]
BARE = {"act_layer": None, "norm_layer": None, "standardize": False}  # what a plain convolution has not


def bare(name: str) -> dict[str, object]:
    """Arguments that leave out of a module what keeps it from being a plain convolution."""
    return {key: value for key, value in BARE.items() if key in registry.signature(name).parameters}


@pytest.mark.parametrize("name", TAKING)
def test_weights_are_taken_over_wherever_the_form_fits(name: str) -> None:
    preserved = set()
    for form, arguments in FORMS.items():
        model = nn.Sequential(nn.Conv2d(16, 16, **arguments), nn.ReLU()).double().eval()
        x = torch.randn(2, 16, 12, 10, dtype=torch.double)
        before = model(x)
        try:
            report = attnzoo.replace(model, name, "0", **bare(name))
        except AttnzooError:
            assert torch.equal(model(x), before), "a refusal changed the model"
            continue
        if report.sites[0].preserved:
            preserved.add(form)
            torch.testing.assert_close(model(x), before, rtol=0, atol=1e-10)
        else:
            assert report.sites[0].why
    assert preserved, f"{name} took over no form"


@pytest.mark.parametrize("name", TAKING)
def test_what_was_taken_over_trains(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.Conv2d(32, 4, 1)).double()
    try:
        attnzoo.replace(model, name, "0", **bare(name))
    except AttnzooError:
        pytest.skip(f"{name} has another form than 3 x 3 at stride 1")
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    start = copy.deepcopy(model.state_dict())
    for _ in range(3):
        optimiser.zero_grad()
        model(torch.randn(4, 32, 9, 9, dtype=torch.double)).square().mean().backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    still = [key for key, value in model.named_parameters() if value.dim() > 1 and torch.equal(value, start[key])]
    assert not still, f"{still} never moved"


def test_a_pretrained_model_computes_the_same() -> None:
    model = torchvision.models.resnet18().eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(x)
        report = attnzoo.replace(model, "odconv", "layer4.*.conv2")
        after = model(x)
    assert [site.path for site in report.sites] == ["layer4.0.conv2", "layer4.1.conv2"]
    assert all(site.preserved for site in report.sites)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
    assert "layer4.1.conv2" in str(report)
    assert "preserved" in str(report)


def test_a_timm_model_is_replaced_by_predicate() -> None:
    model = timm.create_model("resnet10t").eval()
    strided = attnzoo.replace(model, "do_conv", lambda _, m: isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
    assert len(strided.sites) > 5
    assert all(site.preserved for site in strided.sites)


def test_new_weights_say_why() -> None:
    model = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1))
    report = attnzoo.replace(model, "involution", "0")
    assert not report.sites[0].preserved
    assert "computes a plain convolution" in report.sites[0].why


def test_fresh_weights_are_the_authors_and_outlast_a_file(tmp_path: Path) -> None:
    """preserve=False leaves four different kernels of the authors' size, says so, and is saved and loaded again."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.ReLU())
    report = attnzoo.replace(model, "odconv", "0", preserve=False)
    assert not report.sites[0].preserved
    assert report.sites[0].why == "initialised afresh, as preserve=False asks"
    assert "new" in str(report)
    kernels = model[0].weight.detach()
    assert all(not torch.equal(one, other) for one, other in itertools.combinations(kernels, 2))
    assert kernels.std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.05)
    attnzoo.save(model, tmp_path / "model.safetensors")
    again = attnzoo.load(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.ReLU()),
                         tmp_path / "model.safetensors")  # fmt: skip
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(model.eval()(x), again.eval()(x))


def test_a_convolution_in_two_places_stays_one() -> None:
    conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    model = nn.Sequential(conv, nn.ReLU(), conv)
    attnzoo.replace(model, "do_conv", "0")
    assert model[0] is model[2]
    assert model[0] is not conv


@pytest.mark.parametrize(
    ("name", "which", "says"),
    [
        ("se", "0", "does not stand in for a convolution"),
        ("odconv", "nothing", "matches no submodule"),
        ("odconv", "1", "matches no nn.Conv2d"),
        ("odconvv", "0", "odconv"),
    ],
)
def test_bad_input_is_refused_and_nothing_changes(name: str, which: str, says: str) -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    conv = model[0]
    with pytest.raises(AttnzooError, match=says):
        attnzoo.replace(model, name, which)
    assert model[0] is conv


def test_a_convolution_with_a_plug_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
    attnzoo.insert(model, "se", "0", example_input=torch.randn(1, 16, 8, 8))
    with pytest.raises(AttnzooError, match=r"attnzoo\.remove"):
        attnzoo.replace(model, "odconv", "0")


def test_another_output_shape_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(16, 16, 3))
    with pytest.raises(AttnzooError, match="gives"):
        attnzoo.replace(model, "involution", "0")


def test_the_temperature_is_annealed() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1))
    attnzoo.replace(model, "odconv", "0")
    attnzoo.replace(model, "dynamic_conv", "1")
    schedule = attnzoo.TemperatureSchedule(model, start=30, end=1, epochs=10)
    seen = []
    for _ in range(12):
        seen.append(model[0].temperature)
        assert model[1].temperature == model[0].temperature
        schedule.step()
    assert seen[0] == 30
    assert seen[5] == pytest.approx(15.5)
    assert seen[10] == seen[11] == 1
    again = attnzoo.TemperatureSchedule(model)
    again.load_state_dict({"epoch": 5})
    assert model[0].temperature == pytest.approx(15.5)
    with pytest.raises(AttnzooError, match="no module with a temperature"):
        attnzoo.TemperatureSchedule(nn.Sequential(nn.ReLU()))
