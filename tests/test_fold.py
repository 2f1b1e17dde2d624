"""Does fold leave plain convolutions that compute the same?"""

import copy

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import attnzoo
from attnzoo import AttnzooError, registry

FORMS = {
    "plain": {"kernel_size": 3, "padding": 1},
    "strided": {"kernel_size": 3, "stride": 2, "padding": 1},
    "dilated": {"kernel_size": 3, "dilation": 2, "padding": 2},
    "grouped": {"kernel_size": 3, "padding": 1, "groups": 4},
    "unpadded": {"kernel_size": 3},
    "wide": {"kernel_size": 5, "padding": 2},
}
FOLDING = [name for name in attnzoo.names() if hasattr(registry.module_class(name), "folded")]


def trained(model: nn.Module, x: Tensor, steps: int = 3) -> nn.Module:
    """After real steps, with statistics and weights far from their start."""
    optimiser = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        model(x + 0.1 * torch.randn_like(x)).square().mean().backward()
        optimiser.step()
    return model.eval()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", FOLDING)
def test_every_form_folds_exactly(name: str, dtype: torch.dtype, tolerance: float) -> None:
    folded = 0
    for arguments in FORMS.values():
        known = registry.signature(name).parameters
        given = {key: value for key, value in arguments.items() if key in known}
        try:
            module = attnzoo.create(name, in_channels=8, out_channels=8, **given)
        except AttnzooError:
            continue
        x = torch.randn(4, 8, 12, 14, dtype=dtype)
        model = trained(nn.Sequential(module).to(dtype), x)
        with torch.no_grad():
            before = model(x)
            report = attnzoo.fold(model, x)
            after = model(x)
        assert float((after - before).abs().max() / before.abs().max()) <= tolerance, arguments
        assert report.parameters[1] <= report.parameters[0]
        assert report.macs[1] <= report.macs[0]
        folded += 1
    assert folded, f"{name} was built in no form"


@pytest.mark.parametrize("make", [torchvision.models.resnet18, lambda: timm.create_model("mobilenetv3_small_050")])
def test_batch_norms_join_their_convolutions(make: object) -> None:
    model, x = make().eval(), torch.randn(1, 3, 64, 64)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    with torch.no_grad():
        before = model(x)
        report = attnzoo.fold(model, x)
        after = model(x)
    assert len(report.sites) == norms
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert float((after - before).abs().max() / before.abs().max()) < 1e-4


def test_odconv_takes_in_the_norm_that_follows() -> None:
    x = torch.randn(4, 8, 9, 9, dtype=torch.double)
    model = nn.Sequential(attnzoo.create("odconv", in_channels=8, out_channels=8, kernel_size=3), nn.BatchNorm2d(8))
    trained(model.double(), x)
    before = model(x)
    attnzoo.fold(model, x)
    torch.testing.assert_close(model(x), before, rtol=1e-10, atol=1e-10)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


class Shared(nn.Module):
    """Reads a convolution's output beside its BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.other = nn.Conv2d(3, 4, 3)
        self.other_norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y.relu() + self.other_norm(self.other(x))


def test_what_something_else_reads_is_kept() -> None:
    model, x = Shared().eval(), torch.randn(2, 3, 8, 8)
    nn.init.uniform_(model.norm.running_mean)
    before = model(x)
    report = attnzoo.fold(model, x)
    assert [site.path for site in report.sites] == ["other"]
    assert [path for path, _ in report.kept] == ["norm"]
    assert "reads the convolution's output" in str(report)
    torch.testing.assert_close(model(x), before)


def test_a_plug_between_convolution_and_norm_is_kept_and_one_after_moves_along() -> None:
    x = torch.randn(2, 16, 8, 8)
    model = nn.Sequential(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16)).eval()
    attnzoo.insert(model, "se", ["0", "3"], identity=False, example_input=x)
    before = model(x)
    report = attnzoo.fold(model, x)
    assert [site.path for site in report.sites] == ["2"]
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
    assert "3.attnzoo.module.mlp.fc1.weight" in model.state_dict()
    attnzoo.remove(model)


@pytest.mark.parametrize(
    ("name", "form"), [("odconv", {}), ("dbb", {"act_layer": nn.SiLU}), ("rep_vgg", {"act_layer": None})]
)
def test_a_plug_after_a_module_that_folds_moves_along(name: str, form: dict) -> None:
    x = torch.randn(2, 16, 8, 8)
    model = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()).eval()
    attnzoo.replace(model, name, "0", **form)
    attnzoo.insert(model, "se", "0", identity=False, example_input=x)
    attnzoo.insert(model, "eca", ["0"], stack=True, identity=False, example_input=x)
    before, runs = model(x), []
    attnzoo.fold(model, x)
    (plug,) = [m for m in model.modules() if type(m).__name__ == "SE"]
    plug.register_forward_hook(lambda *_: runs.append(1))
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
    assert len(runs) == 1
    attnzoo.remove(model)
    assert "attnzoo" not in repr(model)


def test_a_module_with_something_plugged_in_inside_is_kept() -> None:
    x = torch.randn(2, 16, 8, 8)
    model = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)).eval()
    attnzoo.replace(model, "rep_vgg", "0", act_layer=None)
    attnzoo.insert(model, "se", "0.branches.point", example_input=x)  # the identity at first
    report = attnzoo.fold(model, x)
    assert ("0", "something is plugged in inside, which would be lost") in report.kept
    assert any(isinstance(m, nn.BatchNorm2d) for m in model[0].modules()) or report.sites
    attnzoo.remove(model)


def test_training_mode_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(AttnzooError, match="training mode"):
        attnzoo.fold(model, torch.randn(1, 3, 8, 8))


def test_nothing_to_fold_is_refused() -> None:
    with pytest.raises(AttnzooError, match="nothing that folds"):
        attnzoo.fold(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), torch.randn(1, 3, 8, 8))


def test_a_model_that_hides_a_read_is_left_as_it_was() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.norm(y) * self.conv.weight.sum()

    model, x = Hidden().eval(), torch.randn(1, 3, 8, 8)
    nn.init.uniform_(model.norm.running_var, 3, 4)
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(AttnzooError, match="left as it was"):
        attnzoo.fold(model, x)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_folded_model_compiles_exports_and_copies() -> None:
    x = torch.randn(2, 3, 32, 32)
    model = torchvision.models.resnet18(num_classes=4).eval()
    attnzoo.fold(model, x)
    wanted = model(x)
    torch.testing.assert_close(copy.deepcopy(model)(x), wanted)
    torch.testing.assert_close(torch.compile(model, backend="aot_eager", fullgraph=True)(x), wanted)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), wanted)
