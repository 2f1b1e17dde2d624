"""The ResNets of 50 layers with attention, for images of about 224 x 224 pixels: presets of one ResNet."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Final

from torch import nn

from attnzoo import checks
from attnzoo.modules.channel.eca import ECA
from attnzoo.modules.channel.ge import GatherExcite
from attnzoo.modules.channel.psa import PSA
from attnzoo.modules.channel.se import SE
from attnzoo.modules.channel.sk import SK
from attnzoo.modules.channel.split_attention import SplitAttention
from attnzoo.modules.channel_spatial.sc_bottleneck import SCBottleneck
from attnzoo.modules.channel_spatial.shuffle_attention import ShuffleAttention
from attnzoo.networks.resnet import (
    Block,
    ResNet,
    Stem,
    bottleneck,
    deep_stem,
    draw_weights,
    large_stem,
    shortcut,
)

DEPTHS: Final = (3, 4, 6, 3)


def _resnet(
    called: str,
    num_classes: int,
    in_channels: int,
    features_only: bool,
    block: Block,
    stem: Stem = large_stem,
    caffe: bool = False,
    min_size: int = 1,
) -> ResNet:
    """Fifty layers; `caffe`: the first pooling rounds up instead of padding."""
    network = ResNet(
        called,
        num_classes,
        in_channels,
        features_only,
        block=block,
        depths=DEPTHS,
        stem=stem,
        stem_stride=2,
        pool=nn.MaxPool2d(3, 2, ceil_mode=True) if caffe else nn.MaxPool2d(3, 2, padding=1),
        min_size=max(min_size, 3 if caffe else 1),
    )
    draw_weights(network)
    return network


def se_resnet50(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    def block(channels: int, planes: int, stride: int, stage: int) -> nn.Module:
        return bottleneck(channels, planes, stride, attention=partial(SE, bias=True), stride_first=True)

    return _resnet("se_resnet50", num_classes, in_channels, features_only, block, caffe=True)


def se_resnext50_32x4d(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    def block(channels: int, planes: int, stride: int, stage: int) -> nn.Module:
        return bottleneck(channels, planes, stride, width=2 * planes, groups=32, attention=partial(SE, bias=True))

    return _resnet("se_resnext50_32x4d", num_classes, in_channels, features_only, block, caffe=True)


def eca_resnet50(
    num_classes: int = 1000,
    in_channels: int = 3,
    features_only: bool = False,
    kernel_sizes: Sequence[int] = (3, 5, 5, 7),
) -> ResNet:
    checks.sequence("eca_resnet50", length=4, kernel_sizes=kernel_sizes)

    def block(channels: int, planes: int, stride: int, stage: int) -> nn.Module:
        return bottleneck(channels, planes, stride, attention=partial(ECA, kernel_size=kernel_sizes[stage]))

    return _resnet("eca_resnet50", num_classes, in_channels, features_only, block)
