"""Do whole networks compute what the original ones compute, and do they give features, learn, and say what is wrong?"""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import attnzoo
from attnzoo.networks.base import ImageNetwork
from attnzoo.verify.fingerprint import fill
from attnzoo.verify.vectors import TOLERANCE, Case

REFERENCES = Path(__file__).parent / "networks"
PROVEN_BY: dict[str, list[tuple[str, dict[str, Any]]]] = {  # the stored runs, and what builds the network of each
    "bisenet": [("bisenet-a", {"width_divisor": 32}), ("bisenet-b", {"width_divisor": 32, "aux": False})],
    "cfnet_tiny": [("network_cfnet-cednet_tiny", {"aux": True})],
    "cifar_dia_resnet83": [("network_dianet-dia_resnet83", {})],
    "cifar_googlenet": [("network_cifar-googlenet", {})],
    "cifar_mobilenetv2": [("network_cifar-mobilenetv2", {})],
    "cifar_resnet18": [("network_cifar-resnet18", {})],
    "cifar_resnet50": [("network_cifar-resnet50", {})],
    "cifar_sa_resnet18": [("network_cifar-sanet18", {})],
    "cifar_sa_resnet50": [("network_cifar-sa_resnet50", {})],
    "cifar_senet18": [("network_cifar-senet18", {})],
    "cifar_shufflenetv2": [("network_cifar-shufflenetv2", {})],
    "eca_resnet50": [("network_ecanet-ecanet50", {})],
    "emanet50": [("network_emanet-emanet50", {})],
    "epsanet50": [("network_epsanet-epsanet50", {})],
    "fan": [("network_fan-a", {"embed_dim": 16, "depth": 2, "num_heads": 2, "cls_attn_layers": 1})],
    "fan_tiny_hybrid": [("network_fan-fan_tiny_hybrid", {})],
    "fan_tiny_vit": [("network_fan-fan_tiny_vit", {})],
    "ge_resnet50_theta": [("network_genet-theta", {"image_size": 64})],
    "ge_resnet50_theta_minus": [("network_genet-theta_minus", {})],
    "ge_resnet50_theta_plus": [("network_genet-theta_plus", {"image_size": 64})],
    "hcgnet": [("network_hcgnet-a", {"growth_rate": [4, 4], "depths": [2, 2]})],
    "hcgnet_a1": [("network_hcgnet-hcgnet_a1", {})],
    "hcgnet_b": [("network_hcgnet-hcgnet_b", {})],
    "iaunet": [("network_iaunet-iaunet", {})],
    "ocrnet_hrnet_w18": [("network_ocrnet-hrnet_w18_ocr", {"full_size": False})],
    "residual_attention56": [("network_residual_attention-attention56", {})],
    "resnest50": [("network_resnest-resnest50", {})],
    "resnest50_fast": [("network_resnest-resnest50_fast", {})],
    "rest": [
        (
            "network_rest-a",
            {"channels": [8, 8, 16, 16], "num_heads": [1, 2, 2, 4], "mlp_ratios": [2] * 4, "depths": [1] * 4},
        )
    ],
    "rest_lite": [("network_rest-rest_lite", {})],
    "rest_small": [("network_rest-rest_small", {})],
    "sa_resnet50": [("network_sanet-sanet50", {})],
    "san10_pairwise": [("network_san-san10_pairwise", {})],
    "san10_patchwise": [("network_san-san10_patchwise", {})],
    "scnet50": [("network_scnet-scnet50", {})],
    "scnet50_v1d": [("network_scnet-scnet50_v1d", {})],
    "se_resnet50": [("network_senet-seresnet50", {})],
    "se_resnext50_32x4d": [("network_senet-seresnext50", {})],
    "sknet50": [("network_sknet-sknet50", {})],
}
FROM_PAPER = {  # nobody's run is stored: compared with the paper's form, here or in test_systems.py
    "guided_attention_net",
    "hatt_matting_resnext101",
    "ra_cnn",
    "resnet20",
    "resnet56",
    "wrn16_4",
}
PRESETS: dict[str, str] = {  # further sizes and gates of a proven network, assembled by the same code: counted
    "cfnet_base": "cfnet_tiny",
    "cfnet_res50": "cfnet_tiny",
    "cfnet_small": "cfnet_tiny",
    "cfnet_swin_tiny": "cfnet_tiny",
    "bam_resnet18": "cifar_resnet18",
    "bam_resnet34": "cifar_resnet18",
    "bam_resnet50": "eca_resnet50",
    "bam_resnet101": "eca_resnet50",
    "cbam_resnet18": "cifar_resnet18",
    "cbam_resnet34": "cifar_resnet18",
    "cbam_resnet50": "eca_resnet50",
    "cbam_resnet101": "eca_resnet50",
    "cifar_dia_preresnet164": "cifar_dia_resnet83",
    "cifar_dia_resnet164": "cifar_dia_resnet83",
    "cifar_dia_resnext101_8x32d": "cifar_dia_resnet83",
    "cifar_dia_wrn52_4": "cifar_dia_resnet83",
    "coord_mobilenetv2": "cifar_mobilenetv2",
    "coord_resnet50": "eca_resnet50",
    "eca_mobilenetv2": "cifar_mobilenetv2",
    "eca_resnet18": "cifar_resnet18",
    "eca_resnet34": "cifar_resnet18",
    "eca_resnet101": "eca_resnet50",
    "eca_resnet152": "eca_resnet50",
    "emanet101": "emanet50",
    "emanet152": "emanet50",
    "epsanet101": "epsanet50",
    "fan_base_hybrid": "fan_tiny_hybrid",
    "fan_base_vit": "fan_tiny_vit",
    "fan_large_hybrid": "fan_tiny_hybrid",
    "fan_large_vit": "fan_tiny_vit",
    "fan_small_hybrid": "fan_tiny_hybrid",
    "fan_small_vit": "fan_tiny_vit",
    "fan_small_vit_se": "fan_tiny_vit",
    "fan_xlarge_hybrid": "fan_tiny_hybrid",
    "gsop_resnet50": "eca_resnet50",
    "gsop_resnet101": "eca_resnet50",
    "gsopnet2_resnet50": "eca_resnet50",
    "gsopnet2_resnet101": "eca_resnet50",
    "hcgnet_a2": "hcgnet_a1",
    "hcgnet_a3": "hcgnet_a1",
    "hcgnet_c": "hcgnet_b",
    "mobilenetv2": "cifar_mobilenetv2",
    "ocrnet_hrnet_w32": "ocrnet_hrnet_w18",
    "ocrnet_hrnet_w48": "ocrnet_hrnet_w18",
    "residual_attention92": "residual_attention56",
    "resnest101": "resnest50",
    "resnest200": "resnest50",
    "resnest269": "resnest50",
    "resnest50_fast_1s1x64d": "resnest50_fast",
    "resnest50_fast_1s2x40d": "resnest50_fast",
    "resnest50_fast_1s4x24d": "resnest50_fast",
    "resnest50_fast_2s2x40d": "resnest50_fast",
    "resnest50_fast_4s1x64d": "resnest50_fast",
    "resnest50_fast_4s2x40d": "resnest50_fast",
    "resnet18": "cifar_resnet18",
    "resnet34": "cifar_resnet18",
    "resnet50": "eca_resnet50",
    "resnet101": "eca_resnet50",
    "resnet152": "eca_resnet50",
    "rest_base": "rest_small",
    "rest_large": "rest_small",
    "sa_resnet101": "sa_resnet50",
    "san15_pairwise": "san10_pairwise",
    "san15_patchwise": "san10_patchwise",
    "san19_pairwise": "san10_pairwise",
    "san19_patchwise": "san10_patchwise",
    "scnet101": "scnet50",
    "scnet101_v1d": "scnet50_v1d",
    "se_resnet101": "se_resnet50",
    "se_resnet152": "se_resnet50",
    "se_resnext101_32x4d": "se_resnext50_32x4d",
    "senet154": "se_resnext50_32x4d",
    "sknet101": "sknet50",
    "triplet_resnet18": "cifar_resnet18",
    "triplet_resnet50": "eca_resnet50",
    "triplet_resnet101": "eca_resnet50",
}
OUTPUTS_ONLY = {"san10_pairwise", "san10_patchwise", "scnet50", "scnet50_v1d"}  # their stored runs have no gradient
MISREAD = {  # the BatchNorm whose gradient torch misread in the stored run, see `misread`
    "fan_tiny_vit": "embed.3.norm",
    "rest": "embed4.conv.norm",
    "rest_lite": "embed4.conv.norm",
    "rest_small": "embed4.conv.norm",
}
AUXILIARY_FIRST = {"ocrnet_hrnet_w18"}  # whose original gives the auxiliary logits before the final ones
AS_FILTERS = ("*.attention.channel.*", "*.attention.spatial.s*")  # shuffle attention's vectors, there (1, k, 1, 1)
RUNS = [(name, run, given) for name, runs in PROVEN_BY.items() for run, given in runs]
SIZED = {  # else 224 x 224, or 448 x 448
    "ge_resnet50_theta": {"image_size": 64},
    "ge_resnet50_theta_plus": {"image_size": 64},
    "ra_cnn": {"image_size": 64},
}
SQUARE = {"ra_cnn"}  # whose crops are squares, as its images must be
every_network = pytest.mark.parametrize("name", attnzoo.networks())
every_feature_network = pytest.mark.parametrize(
    "name", [name for name in attnzoo.networks() if attnzoo.card(name).task in ("classification", "segmentation")]
)


def small(name: str, **arguments: Any) -> tuple[ImageNetwork, int]:
    """A network of few classes and the side of images that are small for it."""
    card = attnzoo.card(name)
    given = SIZED.get(name, {})
    side = max(card.min_size, 33)
    side += -side % card.multiple_of
    return attnzoo.create(name, num_classes=7, **given, **arguments), given.get("image_size", side)


def tensors(output: Any) -> list[Tensor]:
    """All of an output, the logits first."""
    if isinstance(output, Tensor):
        return [output]
    return [x for part in output for x in tensors(part)]


def logits_shape(name: str, *image: int) -> tuple[int, ...]:
    return (image[0], 7, *image[1:]) if attnzoo.card(name).task == "segmentation" else (image[0], 7)


def test_every_network_is_proven_or_named() -> None:
    assert set(attnzoo.networks()) == set(PROVEN_BY) | FROM_PAPER | set(PRESETS)
    assert set(PRESETS.values()) <= set(PROVEN_BY) | FROM_PAPER
    assert {path.stem for path in REFERENCES.iterdir()} == {run for _, run, _ in RUNS}


@pytest.mark.parametrize(("name", "run", "given"), RUNS, ids=[run for _, run, _ in RUNS])
def test_equals_the_original(name: str, run: str, given: dict[str, Any]) -> None:
    """Outputs and the image's gradient, in float64; the weights are stored, or filled by one rule."""
    case = Case.load(REFERENCES / f"{run}.safetensors")
    network = attnzoo.create(name, num_classes=case.config["num_classes"], **given)
    if case.state:
        attnzoo.load_reference(network, case.state)
    else:
        fill(network, case.config["gain"], AS_FILTERS)
    assert sum(p.numel() for p in network.parameters()) == case.parameters
    if name in MISREAD:
        network.get_submodule(MISREAD[name]).register_forward_hook(_misreading)
    with sdpa_kernel(SDPBackend.MATH):  # the others' gradients are noise where logits of 1e13 leave but one key
        outputs = tensors(network.double().eval()(*case.inputs))[: len(case.outputs)]
    if name in AUXILIARY_FIRST:
        outputs.reverse()
    for ours, theirs in zip(outputs, case.outputs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE * theirs.abs().max().item())
    (wanted,) = case.gradients
    assert (wanted is None) == (name in OUTPUTS_ONLY)
    if wanted is not None:
        (gradient,) = torch.autograd.grad(outputs, case.inputs, case.cotangents)
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=TOLERANCE * wanted.abs().max().item())


def misread(gradient: Tensor) -> Tensor:
    """What torch's BatchNorm takes a gradient for that came from tokens, of one image and on a CPU (as of torch 2.15).

    Its memory, channels last, is read as if they came first. The stored runs have that fault; ours do not, as their
    gradients come another way.
    """
    return gradient.permute(0, 2, 3, 1).reshape(gradient.shape)


def _misreading(module: nn.Module, given: object, output: Tensor) -> None:
    output.register_hook(misread)


@pytest.mark.parametrize("name", MISREAD)
def test_gradient_of_one_image_is_that_in_a_batch(name: str) -> None:
    """Where the stored gradient does not tell."""
    network, size = small(name)
    network.double().eval()
    image = torch.randn(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    pair = image.detach().expand(2, -1, -1, -1).clone().requires_grad_()
    (alone,) = torch.autograd.grad(network(image)[0].square().sum(), image)
    (together,) = torch.autograd.grad(network(pair)[0].square().sum(), pair)
    torch.testing.assert_close(alone[0], together[0])


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
    card = attnzoo.card(name)
    with torch.device("meta"):
        network = attnzoo.create(name)
        macs = attnzoo.cost(network, (3, card.image_size, card.image_size)).macs
    assert isinstance(card, attnzoo.NetworkCard)
    assert sum(p.numel() for p in network.parameters()) == card.parameters
    assert card.summary.count(". ") == 1
    assert card.summary.endswith(".")
    assert card.summary_zh.count("。") == 2
    assert card.differences
    assert card.reported
    assert card.url.startswith("https://")
    assert macs / 1e6 == pytest.approx(card.macs, abs=0.06)


@every_feature_network
def test_gives_features(name: str) -> None:
    """timm's convention: a list of maps, their channels and strides told; the same maps as on the way to the logits."""
    with torch.device("meta"):
        network, size = small(name, features_only=True)
        whole, _ = small(name)
        image = torch.randn(1, 3, size, size)
    maps = network.eval()(image)
    info = network.feature_info
    assert [m.shape[1] for m in maps] == info.channels()
    assert all(
        size // r <= side <= -(-size // r) for m, r in zip(maps, info.reduction(), strict=True) for side in m.shape[2:]
    )
    assert info.reduction() == sorted(info.reduction())
    assert set(network.state_dict()) <= set(whole.state_dict()), "the weights of the classifier must fit"
    assert network.get_submodule(info.module_name()[0]) is not None


@pytest.mark.parametrize("name", [name for name in PROVEN_BY if attnzoo.card(name).task == "classification"])
def test_features_are_those_of_the_whole(name: str) -> None:
    network, size = small(name, features_only=True)
    whole, _ = small(name)
    whole.load_state_dict({**whole.state_dict(), **network.state_dict()})
    seen: dict[str, Tensor] = {}
    for at in network.feature_info.module_name():
        whole.get_submodule(at).register_forward_hook(partial(_keep, seen, at))
    image = torch.randn(1, 3, size, size)
    with torch.no_grad():
        maps = network.eval()(image)
        whole.eval()(image)
    for at, given in zip(network.feature_info.module_name(), maps, strict=True):
        assert torch.equal(given, seen[at]), at


def _keep(seen: dict[str, Tensor], at: str, module: nn.Module, given: object, output: Any) -> None:
    seen[at] = tensors(output)[0]


@every_feature_network
def test_trains_on_images_of_other_channels(name: str) -> None:
    """On tensors without values: every weight is reached by a gradient, at any size of network."""
    with torch.device("meta"):
        network, size = small(name, in_channels=4)
        outputs = tensors(network.train()(torch.randn(2, 4, size, size)))
        assert outputs[0].shape == logits_shape(name, 2, size, size)
        sum(output.sum() for output in outputs).backward()  # type: ignore[union-attr]
    for at, parameter in network.named_parameters():
        assert parameter.grad is not None or not parameter.requires_grad, at


@every_feature_network
def test_says_what_is_wrong(name: str) -> None:
    with pytest.raises(attnzoo.AttnzooError, match="num_classes=0 is not an integer of at least 1"):
        attnzoo.create(name, num_classes=0)
    with pytest.raises(attnzoo.AttnzooError, match=rf"{name}: in_channels='3' is not an integer"):
        attnzoo.create(name, in_channels="3")
    with pytest.raises(attnzoo.AttnzooError, match=rf"{name}: unknown argument 'classes'; did you mean num_classes"):
        attnzoo.create(name, classes=3)
    with torch.device("meta"):
        network, size = small(name)
        with pytest.raises(attnzoo.AttnzooError, match=rf"expected \(B, 3, H, W\), got \(1, 1, {size}, {size}\)"):
            network(torch.zeros(1, 1, size, size))
        card = attnzoo.card(name)
        assert (network.min_size, network.multiple_of) == (card.min_size, card.multiple_of)
        if card.min_size > 1:
            with pytest.raises(attnzoo.AttnzooError, match=f"expected a map of at least {card.min_size}"):
                network(torch.zeros(1, 3, card.min_size - 1, card.min_size))
        if card.multiple_of > 1:
            with pytest.raises(attnzoo.AttnzooError, match=f"height and width are multiples of {card.multiple_of}"):
                network(torch.zeros(1, 3, size, size + 1))


@every_feature_network
def test_takes_the_least_size(name: str) -> None:
    with torch.device("meta"):
        network, _ = small(name)
        if network.image_size is None:
            height = max(network.min_size, network.multiple_of)
            width = height + network.multiple_of
            logits = tensors(network.eval()(torch.zeros(1, 3, height, width)))[0]
            assert logits.shape == logits_shape(name, 1, height, width)
            return
        wrong = "expected square maps" if name in SQUARE else r"build the module with image_size=\(48, 64\)"
        with pytest.raises(attnzoo.AttnzooError, match=wrong):
            network(torch.zeros(1, 3, 48, 64))
        height, width = (33, 33) if name in SQUARE else (33, 20)
        other = attnzoo.create(name, num_classes=7, image_size=33 if name in SQUARE else (33, 20))
        logits = tensors(other.eval()(torch.zeros(1, 3, height, width)))[0]
        assert logits.shape == logits_shape(name, 1, height, width)


def test_networks_are_no_modules() -> None:
    assert attnzoo.networks() == sorted(attnzoo.networks())
    assert not set(attnzoo.networks()) & set(attnzoo.names())
    with pytest.raises(attnzoo.AttnzooError, match=r"did you mean .*cifar_resnet18"):
        attnzoo.create("cifar_resnet81")
    with pytest.raises(attnzoo.AttnzooError, match="se: taken by SE"):
        attnzoo.register_network("se", paper=attnzoo.Paper("", "", "", 0, ""), parameters=0, macs=0, image_size=1)(
            nn.Identity
        )
