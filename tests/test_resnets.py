"""Are the presets of residual and mobile networks the networks of their names? Other people's skeletons say so.

Both sides are filled by the rule that knows no names. torchvision's networks get our modules, proven by themselves,
where the authors' code has them; timm has some of the networks whole.
"""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import attnzoo
from attnzoo.verify.fingerprint import fill

CLASSES = 10


def assert_same(name: str, theirs: nn.Module, gain: float = 1.0, **arguments: Any) -> None:
    """As many parameters, and under one fill the same logits for two images, in float64."""
    networks = attnzoo.create(name, num_classes=CLASSES, **arguments), theirs
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts[0] == counts[1]
    x = torch.linspace(-40, 40, 2 * 3 * 64 * 64, dtype=torch.float64).view(2, 3, 64, 64).sin() * 2
    ours, wanted = (logits(network, x, gain) for network in networks)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3 * wanted.abs().max(), "the images must make a difference"
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-8 * wanted.abs().max().item())


def logits(network: nn.Module, x: Tensor, gain: float) -> Tensor:
    fill(network, gain)
    with torch.no_grad():
        return network.double().eval()(x)


def torchvision_resnet(depth: int, attention: Callable[[int, int], nn.Module] | None = None) -> nn.Module:
    """torchvision's, with what `attention` makes, for a stage and its channels, after the last norm of every block."""
    network = torchvision.models.get_model(f"resnet{depth}", weights=None, num_classes=CLASSES)
    for i, stage in enumerate((network.layer1, network.layer2, network.layer3, network.layer4)):
        for block in stage if attention else ():
            append(block, attention(i, last_norm(block)[1].num_features))
    return network


def last_norm(block: nn.Module) -> tuple[str, nn.BatchNorm2d]:
    at = "bn3" if hasattr(block, "bn3") else "bn2"
    return at, getattr(block, at)


def append(block: nn.Module, attention: nn.Module) -> None:
    at, norm = last_norm(block)
    setattr(block, at, nn.Sequential(norm, attention))


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_plain_equals_torchvision(depth: int) -> None:
    theirs = torchvision_resnet(depth)
    with torch.device("meta"):
        ours = attnzoo.create(f"resnet{depth}", num_classes=CLASSES)
    assert [x.shape for x in ours.state_dict().values()] == [x.shape for x in theirs.state_dict().values()]
    assert_same(f"resnet{depth}", theirs)


@pytest.mark.parametrize(
    ("module", "depth"),
    [("cbam", 18), ("cbam", 50), ("triplet", 18), ("triplet", 50), ("coord", 50)],
)
def test_attention_after_the_last_norm(module: str, depth: int) -> None:
    theirs = torchvision_resnet(depth, lambda _, channels: attnzoo.create(module, channels=channels))
    assert_same(f"{module}_resnet{depth}", theirs)


@pytest.mark.parametrize(("depth", "kernels"), [(18, (3, 5, 7, 7)), (34, (3, 3, 5, 7))])
def test_eca_has_a_kernel_for_each_stage(depth: int, kernels: tuple[int, ...]) -> None:
    theirs = torchvision_resnet(
        depth, lambda stage, channels: attnzoo.create("eca", channels=channels, kernel_size=kernels[stage])
    )
    assert_same(f"eca_resnet{depth}", theirs)


@pytest.mark.parametrize("depth", [18, 50])
def test_bam_between_the_stages(depth: int) -> None:
    theirs = torchvision_resnet(depth)
    for at in ("layer1", "layer2", "layer3"):
        stage = getattr(theirs, at)
        channels = last_norm(stage[-1])[1].num_features
        setattr(theirs, at, nn.Sequential(stage, attnzoo.create("bam", channels=channels)))
    assert_same(f"bam_resnet{depth}", theirs)


class SecondOrder(nn.Module):
    """Reduction, covariance, three steps towards its root, upper triangle: as GSoP-Net2 has them, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2048, 256, 1, bias=False)
        self.bn = nn.BatchNorm2d(256)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.bn(self.conv(x)).relu().flatten(2)
        identity = torch.eye(256, dtype=x.dtype)
        triangles = []
        for rows in maps:
            covariance = torch.cov(rows, correction=0)
            y, z = covariance / covariance.trace(), identity
            for _ in range(3):
                step = (3 * identity - z @ y) / 2
                y, z = y @ step, step @ z
            root = y * covariance.trace().sqrt()
            triangles.append(torch.cat([root[i, i:] for i in range(256)]))
        return torch.stack(triangles)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("gsop_resnet50", "channel"), ("gsop_resnet50", "position"), ("gsopnet2_resnet50", "channel")],
)
def test_gsop_in_the_last_block_of_a_stage(name: str, mode: str) -> None:
    theirs = torchvision_resnet(50)
    first = theirs.layer4[0]
    first.conv2.stride = first.downsample[0].stride = (1, 1)
    second = name.startswith("gsopnet2")
    for i, stage in enumerate((theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4)):
        if i < 3 or not second:
            channels = last_norm(stage[-1])[1].num_features
            gate = attnzoo.create("gsop", channels=channels, mode=mode, reduction_stride=1 if i else 2)
            append(stage[-1], gate)
    if second:
        theirs.avgpool, theirs.fc = SecondOrder(), nn.Linear(32_896, CLASSES)
    assert_same(name, theirs, mode=mode)


@pytest.mark.parametrize(
    ("name", "timms"),
    [
        ("senet154", "legacy_senet154"),
        ("resnest101", "resnest101e"),
        ("resnest50_fast_4s2x40d", "resnest50d_4s2x40d"),
        ("resnest50_fast_1s4x24d", "resnest50d_1s4x24d"),
    ],
)
def test_equals_timm(name: str, timms: str) -> None:
    assert_same(name, timm.create_model(timms, num_classes=CLASSES))


def mobilenet_blocks(network: nn.Module) -> list[nn.Sequential]:
    """The layers of torchvision's inverted residuals."""
    return [block.conv for block in network.features if hasattr(block, "conv")]


def test_mobilenets() -> None:
    make = torchvision.models.mobilenet_v2
    assert_same("mobilenetv2", make(num_classes=CLASSES), gain=2.0)

    theirs = make(num_classes=CLASSES)
    for layers in mobilenet_blocks(theirs):
        channels = layers[-1].num_features
        layers.append(attnzoo.create("eca", channels=channels, kernel_size=1 if channels < 96 else 3))
    assert_same("eca_mobilenetv2", theirs, gain=2.0)

    theirs = make(num_classes=CLASSES)
    for layers in mobilenet_blocks(theirs)[1:]:
        layers.insert(2, attnzoo.create("coord", channels=layers[1][1].num_features))
    assert_same("coord_mobilenetv2", theirs, gain=2.0)


@pytest.mark.parametrize(
    ("name", "arguments", "parameters"),
    [
        ("eca_resnet18", {"kernel_sizes": (3, 3, 3, 3)}, 11_689_536),
        ("eca_resnet34", {"kernel_sizes": (3, 3, 3, 3)}, 21_797_720),
        ("eca_resnet50", {"kernel_sizes": (3, 3, 3, 3)}, 25_557_080),
        ("eca_resnet101", {"kernel_sizes": (3, 3, 3, 3)}, 44_549_259),
        ("eca_resnet152", {"kernel_sizes": (3, 3, 3, 3)}, 60_192_958),
        ("gsop_resnet50", {"mode": "position"}, 26_182_952),
        ("gsopnet2_resnet50", {"mode": "position"}, 57_260_008),
        ("cifar_dia_resnet83", {"num_classes": 100}, 1_111_508),
        ("cifar_dia_resnet164", {"num_classes": 100}, 1_946_132),
        ("cifar_dia_preresnet164", {"num_classes": 100}, 1_961_364),
        ("cifar_dia_wrn52_4", {"num_classes": 100}, 12_298_516),
        ("cifar_dia_resnext101_8x32d", {"num_classes": 100}, 33_006_020),
    ],
)
def test_other_forms_count_as_the_authors(name: str, arguments: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        network = attnzoo.create(name, **arguments)
    assert sum(p.numel() for p in network.parameters()) == parameters


def convolved(x: Tensor, layer: nn.Module, stride: int = 1) -> Tensor:
    return nn.functional.conv2d(x, layer.weight, stride=stride, padding=layer.weight.shape[2] // 2)


def bottleneck_parts(block: nn.Module, x: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Branch and shortcut of the pre-activation bottleneck; the shortcut reads x as it comes."""
    layers = block.branch
    y = convolved(layers.norm1[0](x).relu(), layers.conv1)
    y = convolved(layers.norm2[0](y).relu(), layers.conv2, stride)
    y = layers.norm4(convolved(layers.norm3[0](y).relu(), layers.conv3))
    return y, x if isinstance(block.shortcut, nn.Identity) else convolved(x, block.shortcut, stride)


def wide_parts(block: nn.Module, x: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Branch and shortcut of the wide block; a shortcut that is no identity reads the normalised x."""
    a = block.norm1(x).relu()
    y = convolved(block.norm2(convolved(a, block.conv1, stride)).relu(), block.conv2)
    return block.attention(y), x if block.shortcut is None else convolved(a, block.shortcut, stride)


@pytest.mark.parametrize(
    ("name", "depth", "parts"), [("cifar_dia_preresnet164", 18, bottleneck_parts), ("cifar_dia_wrn52_4", 8, wide_parts)]
)
def test_pre_activation_with_dia(name: str, depth: int, parts: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """Written out from the authors' code: one cell for each stage, nothing rectifies the sums."""
    network = attnzoo.create(name)
    x = torch.linspace(-2, 2, 2 * 3 * 9 * 8, dtype=torch.float64).view(2, 3, 9, 8).sin()
    wanted = logits(network, x, 1.0)
    y = convolved(x, network.stem)
    for i, stage in enumerate((network.layer1, network.layer2, network.layer3)):
        assert len(stage.blocks) == depth
        state = None
        for j, block in enumerate(stage.blocks):
            branch, shortcut = parts(block, y, 2 if i and not j else 1)
            branch, state = stage.gating(branch, state)
            y = branch + shortcut
    y = network.tail[0](y).relu().mean(dim=(2, 3))
    torch.testing.assert_close(y @ network.fc.weight.T + network.fc.bias, wanted)
