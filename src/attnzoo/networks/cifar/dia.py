"""Residual networks for 32 x 32 images whose stages each share one recurrent gate."""

from collections import OrderedDict
from functools import partial
from typing import Any, Final

from torch import nn

from attnzoo.modules.channel.dia import DIA
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import (
    GatedStage,
    PreActivation,
    Residual,
    ResNet,
    bottleneck,
    draw_weights,
    small_stem,
)
from attnzoo.registry import paper_of

SOURCE: Final = "gbup-group/DIANet@51685ca"
WIDTHS: Final = "The widths of the cells are written out in the original, which so runs with bottlenecks only."

WIDE_KEYS: Final = {"bn_additional": "attention", "convShortcut": "shortcut"}
RESNEXT_KEYS: Final = {
    "conv_reduce": "branch.conv1.conv",
    "bn_reduce": "branch.conv1.norm",
    "conv_conv": "branch.conv2.conv",
    "bn": "branch.conv2.norm",
    "conv_expand": "branch.conv3.conv",
    "bn_expand": "branch.conv3.norm",
    r"shortcut\.shortcut_conv": "shortcut.conv",
    r"shortcut\.shortcut_bn": "shortcut.norm",
}


def dia(called: str, num_classes: int, in_channels: int, features_only: bool, **others: Any) -> ResNet:
    """Three stages of gated blocks; `others` as in `ResNet`."""
    network = ResNet(
        called,
        num_classes,
        in_channels,
        features_only,
        stage=lambda blocks, channels: GatedStage(blocks, DIA(channels)),
        **others,
    )
    draw_weights(network)
    return network


def bare_stem(in_channels: int, channels: int) -> nn.Module:
    """One 3x3 convolution, what normalises and rectifies it being left to the first block."""
    return nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)


def norm_act(channels: int) -> nn.Module:
    """What such blocks leave to the end of the network."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


def pre_bottleneck(in_channels: int, planes: int, stride: int) -> Residual:
    """A bottleneck with each normalisation before its convolution, and one at the end, to 4 planes channels."""
    branch: OrderedDict[str, nn.Module] = OrderedDict(
        norm1=norm_act(in_channels),
        conv1=nn.Conv2d(in_channels, planes, 1, bias=False),
        norm2=norm_act(planes),
        conv2=nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False),
        norm3=norm_act(planes),
        conv3=nn.Conv2d(planes, 4 * planes, 1, bias=False),
        norm4=nn.BatchNorm2d(4 * planes),
    )
    keys = {
        r"bn(\d)": r"branch.norm\1.0",
        r"conv(\d)": r"branch.conv\1",
        "bn_additional": "branch.norm4",
        r"downsample\.0": "shortcut",
    }
    shortcut: nn.Module = nn.Identity()
    if stride > 1 or in_channels != 4 * planes:
        shortcut = nn.Conv2d(in_channels, 4 * planes, 1, stride, bias=False)
    return Residual(nn.Sequential(branch), shortcut, rectified=False, keys=keys)


for depth, parameters, macs, reported in (
    (83, 1_088_378, 129.3, "CIFAR-100 top-1 of its larger kin ResNet-164: 73.43 plain, 76.67 with DIA."),
    (164, 1_923_002, 251.5, "CIFAR-100 top-1: 73.43 plain, 76.67 with DIA."),
):
    blocks = (depth - 2) // 9
    preset(
        f"cifar_dia_resnet{depth}",
        partial(
            dia,
            blocks=[bottleneck] * 3,
            depths=(blocks,) * 3,
            planes=(16, 32, 64),
            stem=small_stem,
            stem_channels=16,
        ),
        title=f"DIA-ResNet-{depth} for CIFAR",
        classes=10,
        paper=paper_of("dia"),
        source=SOURCE,
        source_license="MIT",
        summary=f"Three stages of {blocks} bottlenecks each, of 64, 128 and 256 channels, every stage with one "
        "recurrent cell that gates all its blocks in turn. A deep and thin network, made for gates that remember.",
        summary_zh=f"三个阶段各有 {blocks} 个瓶颈块，通道数为 64、128、256，每个阶段由同一个循环单元依次为各块加门。"
        "它深而窄，正适合带记忆的注意力。",
        reported=reported,
        differences=(WIDTHS,),
        parameters=parameters,
        macs=macs,
        image_size=32,
    )

preset(
    "cifar_dia_preresnet164",
    partial(
        dia,
        blocks=[pre_bottleneck] * 3,
        depths=(18, 18, 18),
        planes=(16, 32, 64),
        stem=bare_stem,
        stem_channels=16,
        tail=norm_act,
        keys={"conv1": "stem", "bn": "tail.0"},
    ),
    title="DIA-PreResNet-164 for CIFAR",
    classes=10,
    paper=paper_of("dia"),
    source=SOURCE,
    source_license="MIT",
    summary="As cifar_dia_resnet164, with each normalisation before its convolution and one more at the end of every "
    "branch. Nothing rectifies the sums, so that the shortcuts run clear through the network.",
    summary_zh="与 cifar_dia_resnet164 相同，但归一化位于卷积之前，且每个分支末端另加一层归一化。"
    "相加之后不再激活，捷径因此直通整个网络。",
    reported="CIFAR-100 top-1: 76.53 plain, 78.20 with DIA.",
    differences=(
        WIDTHS,
        "A shortcut's convolution reads the input as it comes; in other networks of this kind, the normalised one.",
    ),
    parameters=1_938_234,
    macs=251.5,
    image_size=32,
)

preset(
    "cifar_dia_wrn52_4",
    partial(
        dia,
        blocks=[partial(PreActivation, attention=nn.BatchNorm2d, keys=WIDE_KEYS)] * 3,
        depths=(8, 8, 8),
        planes=(64, 128, 256),
        expansion=1,
        stem=bare_stem,
        stem_channels=16,
        tail=norm_act,
        keys={"conv1": "stem", "bn1": "tail.0", r"block(\d)": r"layer\1"},
    ),
    title="DIA-WRN-52-4 for CIFAR",
    classes=10,
    paper=paper_of("dia"),
    source=SOURCE,
    source_license="MIT",
    summary="A wide residual network of eight blocks a stage, with one more normalisation at the end of every branch "
    "and one recurrent cell for each stage. Wide where cifar_dia_resnet164 is deep.",
    summary_zh="每阶段八个块的宽残差网络，每个分支末端另加一层归一化，每个阶段共用一个循环单元。"
    "它以宽取胜，而 cifar_dia_resnet164 以深取胜。",
    reported="CIFAR-100 top-1: 79.75 plain, 80.99 with DIA.",
    differences=(
        "The cells are written out for a widening of 4 in the original.",
        "The dropout of 0.3 that the authors' example has between the convolutions is left out.",
    ),
    parameters=12_275_386,
    macs=1753.3,
    image_size=32,
)

preset(
    "cifar_dia_resnext101_8x32d",
    partial(
        dia,
        blocks=[partial(bottleneck, widening=8, groups=8, keys=RESNEXT_KEYS)] * 3,
        depths=(11, 11, 11),
        planes=(32, 64, 128),
        stem=small_stem,
        stem_channels=32,
        keys={"conv_1_3x3": "stem.conv", "bn_1": "stem.norm", r"stage_(\d)": r"layer\1", "classifier": "fc"},
    ),
    title="DIA-ResNeXt-101 8x32d for CIFAR",
    classes=10,
    paper=paper_of("dia"),
    source=SOURCE,
    source_license="MIT",
    summary="Three stages of eleven bottlenecks, their 3x3 convolutions in eight groups at twice the output's width, "
    "with one recurrent cell for each stage. The largest of the networks with DIA.",
    summary_zh="三个阶段各有十一个瓶颈块，3x3 卷积分 8 组、宽度为输出的两倍，每个阶段共用一个循环单元。"
    "它是带 DIA 的网络中最大的一个。",
    reported="CIFAR-100 top-1: 81.18 plain, 82.46 with DIA.",
    differences=("Also written 8x4, for 8 groups and a widening of 4; each group has 32 channels in the first stage.",),
    parameters=32_959_850,
    macs=4779.3,
    image_size=32,
)
