"""HCGNets for 32 x 32 images: the A sizes."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from torch import nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.networks.hcgnet import COUNTED, SQUARE, HCGNet
from attnzoo.networks.presets import preset
from attnzoo.registry import paper_of, register_network

CARD: Final[dict[str, Any]] = {
    "paper": paper_of("hcg"),
    "source": "winycg/HCGNet@229ad0b",
    "source_license": "none found",
    "differences": (
        SQUARE,
        COUNTED,
        "The authors' transitions hold a DropBlock, which a schedule turns on in training; here there is none.",
    ),
    "image_size": 32,
}


@register_network(
    "hcgnet",
    title="HCGNet of any size",
    summary="Stages of gated cells behind one 3x3 convolution, for small images, whose growth rates and depths are "
    "yours to choose. By default it is hcgnet_a1.",
    summary_zh="面向小图像的网络：一个 3x3 卷积之后接由门控单元组成的各阶段，增长率与深度均可自定。默认即 hcgnet_a1。",
    reported="See hcgnet_a1 and its larger kin.",
    parameters=1_065_301,
    macs=154.8,
    **CARD,
)
def hcgnet(
    num_classes: int = 10,
    in_channels: int = 3,
    features_only: bool = False,
    growth_rate: Sequence[int] = (12, 24, 36),
    depths: Sequence[int] = (8, 8, 8),
) -> HCGNet:
    """Lists have one item a stage; growth rates are multiples of 4; see `HCGNet`."""
    checks.sequence("hcgnet", growth_rate=growth_rate)
    checks.sequence("hcgnet", length=len(growth_rate), depths=depths)
    checks.multiple("hcgnet", 4, **checks.items(growth_rate=growth_rate))
    checks.positive("hcgnet", **checks.items(depths=depths))

    return _hcgnet("hcgnet", num_classes, in_channels, features_only, growth_rate, depths)


def _hcgnet(
    called: str,
    num_classes: int,
    in_channels: int,
    features_only: bool,
    growth_rate: Sequence[int],
    depths: Sequence[int],
) -> HCGNet:
    return HCGNet(
        called,
        num_classes,
        in_channels,
        features_only,
        growth_rate=growth_rate,
        depths=depths,
        stem=_bare_stem,
        stem_channels=2 * growth_rate[0],
    )


def _bare_stem(in_channels: int, channels: int) -> nn.Sequential:
    """One 3x3 convolution; the cells begin with a norm of their own."""
    return nn.Sequential(ConvNormAct(in_channels, channels, 3, norm_layer=None, act_layer=None))


preset(
    "hcgnet_a1",
    partial(_hcgnet, growth_rate=(12, 24, 36), depths=(8, 8, 8)),
    classes=10,
    title="HCGNet-A1 for CIFAR",
    summary="Three stages of eight gated cells each, which add 12, 24 and 36 channels. Accurate for a network of one "
    "million parameters.",
    summary_zh="三个阶段各八个门控单元，每个单元分别新增 12、24、36 个通道。在百万参数的网络中精度较高。",
    reported="Test error on CIFAR-10 3.15, on CIFAR-100 18.13.",
    parameters=1_065_301,
    macs=154.8,
    **CARD,
)
preset(
    "hcgnet_a2",
    partial(_hcgnet, growth_rate=(24, 36, 64), depths=(8, 8, 8)),
    classes=10,
    title="HCGNet-A2 for CIFAR",
    summary="Three stages of eight gated cells each, which add 24, 36 and 64 channels. The middle one of the three for "
    "CIFAR.",
    summary_zh="三个阶段各八个门控单元，每个单元分别新增 24、36、64 个通道。它是三个 CIFAR 版本中居中的一个。",
    reported="Test error on CIFAR-10 2.29, on CIFAR-100 16.54.",
    parameters=3_069_149,
    macs=489.6,
    **CARD,
)
preset(
    "hcgnet_a3",
    partial(_hcgnet, growth_rate=(36, 48, 80), depths=(12, 12, 12)),
    classes=10,
    title="HCGNet-A3 for CIFAR",
    summary="Three stages of twelve gated cells each, which add 36, 48 and 80 channels. The most accurate of the three "
    "for CIFAR.",
    summary_zh="三个阶段各十二个门控单元，每个单元分别新增 36、48、80 个通道。它是三个 CIFAR 版本中最准的一个。",
    reported="Test error on CIFAR-10 2.14, on CIFAR-100 15.96.",
    parameters=11_239_897,
    macs=1958.5,
    **CARD,
)
