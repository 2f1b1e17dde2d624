"""SKNets."""

from functools import partial

from torch import nn

from attnzoo.modules.channel.sk import SK
from attnzoo.networks.imagenet.resnets.build import CAFFE_POOL, resnet
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import bottleneck
from attnzoo.registry import paper_of


def middle(least: int, channels: int, stride: int) -> nn.Module:
    """What stands in place of the 3x3 convolution, its gate of `least` channels or more."""
    return SK(channels, stride=stride, min_attn_channels=least)


for depth, gates, parameters, macs, error, differences in (
    (
        50,
        (32, 32, 32, 32),
        27_479_784,
        4462.7,
        "20.79",
        (
            "timm's skresnext50_32x4d pads the first pooling, and else computes the same; its skresnet networks are "
            "other designs.",
        ),
    ),
    (
        101,
        (32, 16, 32, 32),
        48_686_760,
        8448.7,
        "20.19",
        (
            "In the second stage the gates are 16 channels wide, as in the authors' graph, and 32 in SKNet-50.",
            "Published with 48.9M parameters and 8.46 G multiply-adds; the authors' graph has those given here.",
        ),
    ),
):
    preset(
        f"sknet{depth}",
        partial(
            resnet,
            depth=depth,
            blocks=[partial(bottleneck, widening=2, middle=partial(middle, least)) for least in gates],
            caffe=True,
        ),
        title=f"SKNet-{depth}",
        paper=paper_of("sk"),
        source="implus/SKNet@17dd708 (Caffe graph)",
        source_license="none found",
        summary=f"ResNeXt-{depth} whose 3x3 convolutions are selective kernels, of 3x3 and of dilated 3x3, in 32 "
        "groups. Each block so weighs its two reaches by the content.",
        summary_zh=f"把 ResNeXt-{depth} 的 3x3 卷积换成 32 组的选择核单元（普通与空洞 3x3 两支）。"
        "每个块按内容权衡两种感受野。",
        reported=f"ImageNet top-1 error, single crop 224: {error}.",
        differences=(CAFFE_POOL, *differences),
        parameters=parameters,
        macs=macs,
        image_size=224,
        min_size=3,
    )
