"""ResNeSts."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from torch import nn

from attnzoo.modules.channel.split_attention import SplitAttention
from attnzoo.networks.imagenet.resnets.build import resnet
from attnzoo.networks.keys import DEEP_STEM
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import Block, bottleneck, deep_stem
from attnzoo.registry import paper_of


def blocks(radix: int = 2, groups: int = 1, group_width: int = 64, fast: bool = False) -> Sequence[Block]:
    """Bottlenecks with split attention of groups * group_width / 64 planes channels, which average instead of striding.

    `fast`: before the split attention, not after it.
    """

    def middle(channels: int, stride: int) -> nn.Module:
        conv = SplitAttention(
            channels, channels, 3, padding=1, groups=groups, bias=False, radix=radix, norm_layer=nn.BatchNorm2d
        )
        pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()
        parts: list[tuple[str, nn.Module]] = [("conv", conv), ("pool", pool)]
        return nn.Sequential(OrderedDict(parts[::-1] if fast else parts))

    keys = {"conv2": "branch.conv2.conv"}
    return [partial(bottleneck, widening=groups * group_width / 64, middle=middle, pooled=True, keys=keys)] * 4


for depth, parameters, macs, image_size, top1, timms in (
    (50, 27_483_240, 5371.2, 224, "81.03", "resnest50d"),
    (101, 48_275_016, 13321.5, 256, "82.83", "resnest101e"),
    (200, 70_201_544, 35519.7, 320, "83.84", "resnest200e"),
    (269, 110_929_480, 77348.7, 416, "84.54", "resnest269e"),
):
    preset(
        f"resnest{depth}",
        partial(
            resnet,
            depth=depth,
            blocks=blocks(),
            stem=deep_stem,
            stem_channels=64 if depth == 50 else 128,
            biased=True,
            keys=DEEP_STEM,
        ),
        title=f"ResNeSt-{depth}",
        paper=paper_of("split_attention"),
        source="zhanghang1989/ResNeSt@1dfb3e8",
        source_license="Apache-2.0",
        summary=f"ResNet-{depth}-D whose 3x3 convolutions are split attention of radix 2, with averages where the "
        "others stride. It has no convolution with a stride but the stem's first.",
        summary_zh=f"ResNet-{depth}-D 的 3x3 卷积换成基数为 2 的分裂注意力，降采样处改用平均池化。"
        "除茎部首层外，卷积都不带步幅。",
        reported=f"ImageNet top-1, {image_size}: {top1}.",
        differences=(f"timm's {timms} has as many parameters and names them otherwise.",),
        parameters=parameters,
        macs=macs,
        image_size=image_size,
    )

for form, radix, groups, width, parameters, macs, published, top1 in (
    ("1s1x64d", 1, 1, 64, 26_217_896, 4329.5, "26.3M", "80.33"),
    ("2s1x64d", 2, 1, 64, 27_483_240, 4330.7, "27.5M", "80.53"),
    ("4s1x64d", 4, 1, 64, 31_912_712, 4335.1, "31.9M", "80.76"),
    ("1s2x40d", 1, 2, 40, 25_946_680, 4364.6, "25.9M", "80.59"),
    ("2s2x40d", 2, 2, 40, 26_943_792, 4365.6, "26.9M", "80.97"),
    ("4s2x40d", 4, 2, 40, 30_417_592, 4369.1, "30.4M", "80.86"),
    ("1s4x24d", 1, 4, 24, 25_677_000, 4399.8, "25.7M", "80.99"),
):
    preset(
        "resnest50_fast" if form == "2s1x64d" else f"resnest50_fast_{form}",
        partial(
            resnet,
            depth=50,
            blocks=blocks(radix, groups, width, fast=True),
            stem=deep_stem,
            biased=True,
            keys=DEEP_STEM,
        ),
        title=f"ResNeSt-50 fast ({form})",
        paper=paper_of("split_attention"),
        source="zhanghang1989/ResNeSt@1dfb3e8",
        source_license="Apache-2.0",
        summary="ResNeSt-50 that averages before its split attention, not after it, which saves a fifth of the "
        f"multiply-adds. Radix {radix}, cardinality {groups}, bottleneck width {width}.",
        summary_zh="在分裂注意力之前而非之后做平均池化的 ResNeSt-50，节省约五分之一的乘加量。"
        f"基数 {radix}，分 {groups} 组，瓶颈宽度参数为 {width}。",
        reported=f"ImageNet top-1, 224: {top1} (repository's ablation study, published with {published} parameters).",
        differences=(
            "The models of the ablation study differ in radix, cardinality and width; this one is called "
            f"resnest50_fast_{form} there.",
        ),
        parameters=parameters,
        macs=macs,
        image_size=224,
    )
