"""SCNets."""

from functools import partial

from torch import nn

from attnzoo.modules.channel_spatial.sc_bottleneck import SCBottleneck
from attnzoo.networks.imagenet.resnets.build import resnet
from attnzoo.networks.keys import DEEP_STEM, POOLED_SHORTCUT
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import deep_stem, shortcut
from attnzoo.registry import paper_of

SIZE = "Images must have at least 97 x 97 pixels, as the last maps are pooled by 4."


def block(channels: int, planes: int, stride: int) -> nn.Module:
    """SCNet's."""
    return SCBottleneck(channels, 4 * planes, planes, stride, downsample=channels != 4 * planes)


def averaging_block(channels: int, planes: int, stride: int) -> nn.Module:
    """SCNet v1d's, with averages in place of strides."""
    widens = channels != 4 * planes
    made = SCBottleneck(channels, 4 * planes, planes, stride, avd=True, downsample=widens)
    if widens:
        made.shortcut = shortcut(channels, 4 * planes, stride, pooled=True)
        made.reference_keys = SCBottleneck.reference_keys | POOLED_SHORTCUT
    return made


for depth, parameters, macs, error in ((50, 25_564_584, 3925.3, "22.19"), (101, 44_565_416, 7168.7, "21.06")):
    preset(
        f"scnet{depth}",
        partial(resnet, depth=depth, blocks=[block] * 4, min_size=97),
        title=f"SCNet-{depth}",
        paper=paper_of("sc_bottleneck"),
        source="MCG-NKU/SCNet@c0b5bd6",
        source_license="none found",
        summary=f"ResNet-{depth} whose bottlenecks have two lanes, a plain one and one that a coarse copy of itself "
        f"calibrates. As many weights as ResNet-{depth}, and a wider view.",
        summary_zh=f"ResNet-{depth} 的瓶颈块分为两路，一路普通卷积，一路由自身的粗粒度副本校准。"
        f"参数量与 ResNet-{depth} 相当，视野更广。",
        reported=f"ImageNet top-1 error: {error}.",
        differences=(SIZE,),
        parameters=parameters,
        macs=macs,
        image_size=224,
        min_size=97,
    )

for depth, parameters, macs, stem_channels, effect, effect_zh, reported in (
    (
        50,
        25_583_816,
        4685.2,
        64,
        "On ImageNet it makes 2.7 points fewer errors.",
        "在 ImageNet 上错误率降低 2.7 个百分点。",
        "ImageNet top-1 error: 19.53.",
    ),
    (
        101,
        44_689_192,
        9044.1,
        128,
        "Its stem is twice as wide as that of the network of 50 layers.",
        "其茎部宽度为 50 层版本的两倍。",
        "No figure recorded; the authors have announced this model, not released it.",
    ),
):
    preset(
        f"scnet{depth}_v1d",
        partial(
            resnet,
            depth=depth,
            blocks=[averaging_block] * 4,
            stem=deep_stem,
            stem_channels=stem_channels,
            min_size=97,
            keys=DEEP_STEM,
        ),
        title=f"SCNet-{depth} v1d",
        paper=paper_of("sc_bottleneck"),
        source="MCG-NKU/SCNet@c0b5bd6",
        source_license="none found",
        summary=f"SCNet-{depth} with three 3x3 convolutions for its stem, and averages where the others stride. "
        f"{effect}",
        summary_zh=f"SCNet-{depth} 的改进版，茎部用三个 3x3 卷积，降采样处改用平均池化。{effect_zh}",
        reported=reported,
        differences=(SIZE,),
        parameters=parameters,
        macs=macs,
        image_size=224,
        min_size=97,
    )
