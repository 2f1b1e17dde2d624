"""HCGNets for images of about 224 x 224 pixels: the sizes B and C."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from torch import nn

from attnzoo.networks.hcgnet import COUNTED, SQUARE, HCGNet
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import deep_stem
from attnzoo.registry import paper_of

CARD: Final[dict[str, Any]] = {
    "paper": paper_of("hcg"),
    "source": "winycg/HCGNet@229ad0b",
    "source_license": "none found",
    "differences": (
        SQUARE,
        COUNTED,
        "The authors' dropout before the classifier has no effect, as its result is not used; here there is none.",
    ),
    "image_size": 224,
}


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
        stem=deep_stem,
        stem_channels=64,
        stem_stride=2,
        pool=nn.MaxPool2d(3, 2, padding=1),
    )


preset(
    "hcgnet_b",
    partial(_hcgnet, growth_rate=(32, 48, 64, 96), depths=(3, 6, 12, 8)),
    title="HCGNet-B",
    summary="Four stages of 3, 6, 12 and 8 gated cells, which add 32, 48, 64 and 96 channels, behind three 3x3 "
    "convolutions. It has half the parameters of ResNet-50.",
    summary_zh="三个 3x3 卷积之后接四个阶段，各有 3、6、12、8 个门控单元，每个单元新增 32、48、64、96 个通道。"
    "参数约为 ResNet-50 的一半。",
    reported="ImageNet top-1 error: 21.5 (repository).",
    parameters=12_845_501,
    macs=2005.3,
    **CARD,
)
preset(
    "hcgnet_c",
    partial(_hcgnet, growth_rate=(48, 56, 72, 112), depths=(6, 12, 18, 14)),
    title="HCGNet-C",
    summary="Four stages of 6, 12, 18 and 14 gated cells, which add 48, 56, 72 and 112 channels, behind three 3x3 "
    "convolutions. Two points more accurate than HCGNet-B at three times its parameters.",
    summary_zh="三个 3x3 卷积之后接四个阶段，各有 6、12、18、14 个门控单元，每个单元新增 48、56、72、112 个通道。"
    "参数约为 HCGNet-B 的三倍，精度高两个百分点。",
    reported="ImageNet top-1 error: 19.36 (repository).",
    parameters=42_153_208,
    macs=6977.7,
    **CARD,
)
