"""Do whole networks compute what the original ones compute, and do they give features, learn, and say what is wrong?"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import attnzoo
from attnzoo.networks.base import Network
from attnzoo.verify.fingerprint import fill
from attnzoo.verify.vectors import TOLERANCE, Case

REFERENCES = Path(__file__).parent / "networks"
PROVEN_BY: dict[str, tuple[str, dict[str, Any]]] = {  # the stored run, and the arguments that build its network
    "cifar_dia_resnet83": ("dianet-dia_resnet83", {}),
    "cifar_googlenet": ("cifar-googlenet", {}),
    "cifar_mobilenetv2": ("cifar-mobilenetv2", {}),
    "cifar_resnet18": ("cifar-resnet18", {}),
    "cifar_resnet50": ("cifar-resnet50", {}),
    "cifar_sa_resnet18": ("cifar-sanet18", {}),
    "cifar_sa_resnet50": ("cifar-sa_resnet50", {}),
    "cifar_senet18": ("cifar-senet18", {}),
    "cifar_shufflenetv2": ("cifar-shufflenetv2", {}),
    "eca_resnet50": ("ecanet-ecanet50", {}),
    "epsanet50": ("epsanet-epsanet50", {}),
    "ge_resnet50_theta": ("genet-theta", {"image_size": 64}),
    "ge_resnet50_theta_minus": ("genet-theta_minus", {}),
    "ge_resnet50_theta_plus": ("genet-theta_plus", {"image_size": 64}),
    "resnest50": ("resnest-resnest50", {}),
    "resnest50_fast": ("resnest-resnest50_fast", {}),
    "sa_resnet50": ("sanet-sanet50", {}),
    "scnet50": ("scnet-scnet50", {}),
    "scnet50_v1d": ("scnet-scnet50_v1d", {}),
    "se_resnet50": ("senet-seresnet50", {}),
    "se_resnext50_32x4d": ("senet-seresnext50", {}),
    "sknet50": ("sknet-sknet50", {}),
}
FROM_PAPER = {"resnet20", "resnet56", "wrn16_4"}  # nobody's run is stored: counted, and compared with the paper's form
OUTPUTS_ONLY = {"scnet50", "scnet50_v1d"}  # their stored runs have no gradient
AS_FILTERS = ("*.attention.channel.*", "*.attention.spatial.s*")  # shuffle attention's vectors, there (1, k, 1, 1)
every_network = pytest.mark.parametrize("name", attnzoo.networks())
SIZED = {name: given for name, (_, given) in PROVEN_BY.items() if given}


def small(name: str, **arguments: Any) -> tuple[Network, int]:
    """A network of few classes and the side of images that are small for it."""
    return attnzoo.create(name, num_classes=7, **SIZED.get(name, {}), **arguments), SIZED.get(name, {}).get(
        "image_size", max(attnzoo.card(name).min_size, 33)
    )


def test_every_network_is_proven_or_named() -> None:
    assert set(attnzoo.networks()) == set(PROVEN_BY) | FROM_PAPER
    assert {path.stem for path in REFERENCES.iterdir()} == {f"network_{run}" for run, _ in PROVEN_BY.values()}


@pytest.mark.parametrize("name", PROVEN_BY)
def test_equals_the_original(name: str) -> None:
    """Logits and the image's gradient, in float64, all weights filled by one rule."""
    run, arguments = PROVEN_BY[name]
    case = Case.load(REFERENCES / f"network_{run}.safetensors")
    network = attnzoo.create(name, num_classes=case.config["num_classes"], **arguments)
    fill(network, case.config["gain"], AS_FILTERS)
    assert sum(p.numel() for p in network.parameters()) == case.parameters
    logits = network.double().eval()(*case.inputs)
    torch.testing.assert_close(logits, case.outputs[0], rtol=0, atol=TOLERANCE * case.outputs[0].abs().max().item())
    (wanted,) = case.gradients
    assert (wanted is None) == (name in OUTPUTS_ONLY)
    if wanted is not None:
        (gradient,) = torch.autograd.grad(logits, case.inputs, case.cotangents)
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=TOLERANCE * wanted.abs().max().item())


@pytest.mark.parametrize(("name", "depth"), [("resnet20", 20), ("resnet56", 56)])
def test_thin_resnets_equal_the_papers_form(name: str, depth: int) -> None:
    """Written out from the paper, section 4.2, with shortcuts of the option A."""
    network = attnzoo.create(name)
    fill(network, 1.0)
    weights = {k: v.double() for k, v in network.state_dict().items()}
    x = torch.linspace(-2, 2, 2 * 3 * 9 * 8, dtype=torch.float64).view(2, 3, 9, 8).sin()

    def conv(x: Tensor, at: str, i: int, stride: int = 1) -> Tensor:
        y = nn.functional.conv2d(x, weights[f"{at}conv{i}.weight"], stride=stride, padding=1)
        return normalised(y, weights, f"{at}bn{i}")

    y = conv(x, "", 1).relu()
    for stage in range(3):
        for block in range((depth - 2) // 6):
            at, stride = f"layer{stage + 1}.{block}.", 2 if stage and not block else 1
            branch = conv(conv(y, at, 1, stride).relu(), at, 2)
            if stride == 2:
                zeros = torch.zeros_like(y[:, : y.shape[1] // 2, ::2, ::2])
                y = torch.cat([zeros, y[:, :, ::2, ::2], zeros], dim=1)
            y = (branch + y).relu()
    logits = y.mean(dim=(2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]
    torch.testing.assert_close(network.double().eval()(x), logits)


def test_wide_resnet_equals_the_papers_form() -> None:
    """Written out from the paper's table 1 and the form B(3, 3), normalisation and ReLU before each convolution."""
    network = attnzoo.create("wrn16_4")
    fill(network, 1.0)
    weights = {k: v.double() for k, v in network.state_dict().items()}
    x = torch.linspace(-2, 2, 2 * 3 * 9 * 8, dtype=torch.float64).view(2, 3, 9, 8).sin()
    conv2d = nn.functional.conv2d
    y = conv2d(x, weights["stem.weight"], padding=1)
    for stage in range(3):
        for block in range(2):
            at, stride = f"layer{stage + 1}.{block}.", 2 if stage and not block else 1
            a = normalised(y, weights, f"{at}norm1").relu()
            branch = conv2d(a, weights[f"{at}conv1.weight"], stride=stride, padding=1)
            branch = conv2d(normalised(branch, weights, f"{at}norm2").relu(), weights[f"{at}conv2.weight"], padding=1)
            y = branch + (y if block else conv2d(a, weights[f"{at}shortcut.weight"], stride=stride))
    y = normalised(y, weights, "tail.0").relu()
    logits = y.mean(dim=(2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]
    torch.testing.assert_close(network.double().eval()(x), logits)


def normalised(x: Tensor, weights: dict[str, Tensor], at: str) -> Tensor:
    mean, variance, scale, shift = (
        weights[f"{at}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


@every_network
def test_card_counts_right(name: str) -> None:
    card, network = attnzoo.card(name), attnzoo.create(name)
    assert isinstance(card, attnzoo.NetworkCard)
    assert sum(p.numel() for p in network.parameters()) == card.parameters
    assert card.summary.count(". ") == 1
    assert card.summary.endswith(".")
    assert card.summary_zh.count("。") == 2
    assert card.differences
    assert card.reported
    assert card.url.startswith("https://")
    with torch.device("meta"):
        sized = attnzoo.create(name)
        macs = attnzoo.cost(sized, (3, card.image_size, card.image_size)).macs
    assert macs / 1e6 == pytest.approx(card.macs, abs=0.06)


@every_network
def test_gives_features(name: str) -> None:
    """timm's convention: a list of maps, their channels and strides told; the same maps as on the way to the logits."""
    network, size = small(name, features_only=True)
    image = torch.randn(1, 3, size, size)
    maps = network.eval()(image)
    info = network.feature_info
    assert [m.shape[1] for m in maps] == info.channels()
    assert all(
        size // r <= side <= -(-size // r) for m, r in zip(maps, info.reduction(), strict=True) for side in m.shape[2:]
    )
    assert info.reduction() == sorted(info.reduction())
    whole, _ = small(name)
    assert set(network.state_dict()) <= set(whole.state_dict()), "the weights of the classifier must fit"
    whole.load_state_dict({**whole.state_dict(), **network.state_dict()})
    seen: list[Tensor] = []
    for at in info.module_name():
        if isinstance(getattr(whole, at), nn.Module):
            getattr(whole, at).register_forward_hook(lambda module, args, y: seen.append(y))
    with torch.no_grad():
        whole.eval()(image)
    assert all(torch.equal(a, b) for a, b in zip(maps, seen, strict=True))


@every_network
def test_trains_on_images_of_other_channels(name: str) -> None:
    network, size = small(name, in_channels=4)
    logits = network.train()(torch.randn(2, 4, size, size))
    assert logits.shape == (2, 7)
    logits.logsumexp(dim=1).sum().backward()
    for at, parameter in network.named_parameters():
        assert parameter.grad is not None, at
        assert parameter.grad.isfinite().all(), at


@every_network
def test_says_what_is_wrong(name: str) -> None:
    with pytest.raises(attnzoo.AttnzooError, match="num_classes=0 is not an integer of at least 1"):
        attnzoo.create(name, num_classes=0)
    with pytest.raises(attnzoo.AttnzooError, match=rf"{name}: in_channels='3' is not an integer"):
        attnzoo.create(name, in_channels="3")
    with pytest.raises(attnzoo.AttnzooError, match=rf"{name}: unknown argument 'classes'; did you mean num_classes"):
        attnzoo.create(name, classes=3)
    network, size = small(name)
    with pytest.raises(attnzoo.AttnzooError, match=rf"expected \(B, 3, H, W\), got \(1, 1, {size}, {size}\)"):
        network(torch.zeros(1, 1, size, size))
    least = attnzoo.card(name).min_size
    assert network.min_size == least
    if least > 1:
        with pytest.raises(attnzoo.AttnzooError, match=f"expected a map of at least {least} x {least}"):
            network(torch.zeros(1, 3, least - 1, least))


@every_network
def test_takes_the_least_size(name: str) -> None:
    network, _ = small(name)
    if network.image_size is None:
        size = network.min_size
        assert network.eval()(torch.zeros(1, 3, size, size + 1)).shape == (1, 7)
    else:
        with pytest.raises(attnzoo.AttnzooError, match=r"build the module with image_size=\(48, 64\)"):
            network(torch.zeros(1, 3, 48, 64))
        other = attnzoo.create(name, num_classes=7, image_size=(33, 20))
        assert other.eval()(torch.zeros(1, 3, 33, 20)).shape == (1, 7)


def test_networks_are_no_modules() -> None:
    assert attnzoo.networks() == sorted(attnzoo.networks())
    assert not set(attnzoo.networks()) & set(attnzoo.names())
    with pytest.raises(attnzoo.AttnzooError, match=r"did you mean .*cifar_resnet18"):
        attnzoo.create("cifar_resnet81")
    with pytest.raises(attnzoo.AttnzooError, match="se: taken by SE"):
        attnzoo.register_network("se", paper=attnzoo.Paper("", "", "", 0, ""), parameters=0, macs=0, image_size=1)(
            nn.Identity
        )
