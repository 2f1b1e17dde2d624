"""SE-ResNets, SE-ResNeXts and SENet-154."""

from collections import OrderedDict
from functools import partial
from typing import Final

from torch import nn

from attnzoo.blocks import ConvNormAct
from attnzoo.modules.channel.se import SE
from attnzoo.networks.imagenet.resnets.build import CAFFE_POOL, CAFFE_STRIDE, resnet
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import Residual, bottleneck, deep_stem
from attnzoo.registry import paper_of

BIASES = "SE has biases, as in the authors' graph."
PARTS: Final = (("conv", "conv"), ("bn", "norm"))
STEM_KEYS: Final = {rf"layer0\.{theirs}1": f"stem.{ours}" for theirs, ours in PARTS}  # as in the PyTorch conversions
gate = partial(SE, bias=True)

for depth, parameters, macs, error in (
    (50, 28_088_024, 3860.5, "22.37"),
    (101, 49_326_872, 7574.9, "21.75"),
    (152, 66_821_848, 11289.0, "21.34"),
):
    preset(
        f"se_resnet{depth}",
        partial(
            resnet,
            depth=depth,
            blocks=[partial(bottleneck, attention=gate, stride_first=True)] * 4,
            caffe=True,
            keys=STEM_KEYS,
        ),
        title=f"SE-ResNet-{depth}",
        paper=paper_of("se"),
        source="hujie-frank/SENet@0262d43 (Caffe graph)",
        source_license="Apache-2.0",
        summary=f"ResNet-{depth} with SE at the end of every bottleneck's branch. It costs a tenth more weights and "
        "next to no multiply-adds.",
        summary_zh=f"在 ResNet-{depth} 每个瓶颈块的残差分支末端接 SE。参数增加约十分之一，乘加量几乎不变。",
        reported=f"ImageNet top-1 error, single crop 224: {error} (repository).",
        differences=(CAFFE_STRIDE, CAFFE_POOL, BIASES),
        parameters=parameters,
        macs=macs,
        image_size=224,
        min_size=3,
    )

for depth, parameters, macs, error in ((50, 27_559_896, 4233.0, "20.97"), (101, 48_955_416, 7974.7, "19.81")):
    preset(
        f"se_resnext{depth}_32x4d",
        partial(
            resnet,
            depth=depth,
            blocks=[partial(bottleneck, widening=2, groups=32, attention=gate)] * 4,
            caffe=True,
            keys=STEM_KEYS,
        ),
        title=f"SE-ResNeXt-{depth} 32x4d",
        paper=paper_of("se"),
        source="hujie-frank/SENet@0262d43 (Caffe graph)",
        source_license="Apache-2.0",
        summary=f"ResNeXt-{depth}, its 3x3 convolutions in 32 groups at twice the width, with SE at the end of every "
        f"branch. More accurate than SE-ResNet-{depth} with fewer weights.",
        summary_zh=f"在 ResNeXt-{depth}（3x3 卷积分 32 组、宽度加倍）的每个残差分支末端接 SE。"
        f"参数比 SE-ResNet-{depth} 少，精度更高。",
        reported=f"ImageNet top-1 error, single crop 224: {error} (repository).",
        differences=(CAFFE_POOL, BIASES),
        parameters=parameters,
        macs=macs,
        image_size=224,
        min_size=3,
    )


def wide_bottleneck(in_channels: int, planes: int, stride: int) -> Residual:
    """SENet-154's: 2 planes, then 4 planes channels in 64 groups, SE; a shortcut that strides has a 3x3 convolution."""
    width = 4 * planes
    branch: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=ConvNormAct(in_channels, width // 2),
        conv2=ConvNormAct(width // 2, width, 3, stride, groups=64),
        conv3=ConvNormAct(width, width, act_layer=None),
        attention=gate(width),
    )
    shortcut: nn.Module = nn.Identity()
    if in_channels != width:
        shortcut = ConvNormAct(in_channels, width, 1 if stride == 1 else 3, stride, act_layer=None)
    return Residual(nn.Sequential(branch), shortcut)


preset(
    "senet154",
    partial(
        resnet,
        depth=152,
        blocks=[wide_bottleneck] * 4,
        stem=deep_stem,
        stem_channels=128,
        tail=lambda _: nn.Dropout2d(0.2),  # to leave out channels is to leave out their means
        caffe=True,
        keys={rf"layer0\.{theirs}{i + 1}": f"stem.{i}.{ours}" for i in range(3) for theirs, ours in PARTS},
    ),
    title="SENet-154",
    paper=paper_of("se"),
    source="hujie-frank/SENet@0262d43 (Caffe graph)",
    source_license="Apache-2.0",
    summary="A wide ResNeXt-152 in 64 groups with SE in every block, three 3x3 convolutions for its stem, and 3x3 "
    "convolutions on the shortcuts that stride. One of the networks that won the ImageNet challenge of 2017.",
    summary_zh="64 组的宽 ResNeXt-152，每个块带 SE，茎部用三个 3x3 卷积，降采样的捷径也用 3x3 卷积。"
    "它是 2017 年 ImageNet 挑战赛冠军所用的网络之一。",
    reported="ImageNet top-1 error, single crop 224: 18.68 (repository).",
    differences=(
        CAFFE_POOL,
        BIASES,
        "The first convolution of a block gives half the channels of the second; other wide ResNeXts give all.",
    ),
    parameters=115_088_984,
    macs=20688.4,
    image_size=224,
    min_size=3,
)
