"""The ResNets of 50 layers with attention, for images of about 224 x 224 pixels: presets of one ResNet."""

import math
from collections.abc import Callable, Sequence
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
from attnzoo.registry import paper_of, register_network

DEPTHS: Final = (3, 4, 6, 3)
CAFFE_POOL: Final = "The first pooling rounds up instead of padding, as in the authors' Caffe graph."
CAFFE_STRIDE: Final = (
    "A stage's stride is in its first 1x1 convolution; networks of the same count with it in the 3x3 convolution, as "
    "torchvision's, compute other numbers."
)


def _resnet(
    called: str,
    num_classes: int,
    in_channels: int,
    features_only: bool,
    blocks: Sequence[Block],
    stem: Stem = large_stem,
    caffe: bool = False,
    min_size: int = 1,
    image_size: tuple[int, int] | None = None,
) -> ResNet:
    """Fifty layers; `caffe`: the first pooling rounds up instead of padding."""
    network = ResNet(
        called,
        num_classes,
        in_channels,
        features_only,
        blocks=blocks,
        depths=DEPTHS,
        stem=stem,
        stem_stride=2,
        pool=nn.MaxPool2d(3, 2, ceil_mode=True) if caffe else nn.MaxPool2d(3, 2, padding=1),
        min_size=max(min_size, 3 if caffe else 1),
        image_size=image_size,
    )
    draw_weights(network)
    return network


@register_network(
    "se_resnet50",
    title="SE-ResNet-50",
    paper=paper_of("se"),
    source="hujie-frank/SENet@0262d43 (Caffe graph)",
    source_license="Apache-2.0",
    summary="ResNet-50 with SE at the end of every bottleneck's branch. It costs a tenth "
    "more weights and next to no multiply-adds.",
    summary_zh="在 ResNet-50 每个瓶颈块的残差分支末端接 SE。参数增加约十分之一，乘加量几乎不变。",
    reported="ImageNet top-1 error, single crop 224: 22.37 (repository).",
    differences=(
        CAFFE_STRIDE,
        CAFFE_POOL,
        "SE has biases, as in the authors' graph.",
    ),
    parameters=28_088_024,
    macs=3860.5,
    image_size=224,
    min_size=3,
)
def se_resnet50(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """ResNet-50 with `se`, see `ResNet`."""
    blocks = [partial(bottleneck, attention=partial(SE, bias=True), stride_first=True)] * 4

    return _resnet("se_resnet50", num_classes, in_channels, features_only, blocks, caffe=True)


@register_network(
    "se_resnext50_32x4d",
    title="SE-ResNeXt-50 32x4d",
    paper=paper_of("se"),
    source="hujie-frank/SENet@0262d43 (Caffe graph)",
    source_license="Apache-2.0",
    summary="ResNeXt-50, its 3x3 convolutions in 32 groups at twice the width, with SE at the end of every branch. "
    "More accurate than SE-ResNet-50 with fewer weights.",
    summary_zh="在 ResNeXt-50（3x3 卷积分 32 组、宽度加倍）的每个残差分支末端接 SE。参数比 SE-ResNet-50 少，精度更高。",
    reported="ImageNet top-1 error, single crop 224: 20.97 (repository).",
    differences=(
        CAFFE_POOL,
        "SE has biases, as in the authors' graph.",
    ),
    parameters=27_559_896,
    macs=4233.0,
    image_size=224,
    min_size=3,
)
def se_resnext50_32x4d(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """ResNeXt-50 32x4d with `se`, see `ResNet`."""
    blocks = [partial(bottleneck, widening=2, groups=32, attention=partial(SE, bias=True))] * 4

    return _resnet("se_resnext50_32x4d", num_classes, in_channels, features_only, blocks, caffe=True)


@register_network(
    "eca_resnet50",
    title="ECA-Net-50",
    paper=paper_of("eca"),
    source="BangguWu/ECANet@b332f6b",
    source_license="MIT",
    summary="ResNet-50 with ECA at the end of every bottleneck's branch. All its gates together have 80 weights.",
    summary_zh="在 ResNet-50 每个瓶颈块的残差分支末端接 ECA。全部通道门合计只有 80 个权重。",
    reported="ImageNet top-1: 77.42 (repository, kernels 3, 5, 5, 7).",
    differences=(
        "The authors' code takes the kernels from a list, 3 in all stages by default (25,557,080 parameters); "
        "their released weights have 3, 5, 5, 7, the default here.",
        "The paper's rule gives 5, 5, 5, 7.",
    ),
    parameters=25_557_112,
    macs=4089.3,
    image_size=224,
)
def eca_resnet50(
    num_classes: int = 1000,
    in_channels: int = 3,
    features_only: bool = False,
    kernel_sizes: Sequence[int] = (3, 5, 5, 7),
) -> ResNet:
    """ResNet-50 with `eca`, its kernels one for each stage, see `ResNet`."""
    checks.sequence("eca_resnet50", length=4, kernel_sizes=kernel_sizes)

    blocks = [partial(bottleneck, attention=partial(ECA, kernel_size=k)) for k in kernel_sizes]

    return _resnet("eca_resnet50", num_classes, in_channels, features_only, blocks)


@register_network(
    "sa_resnet50",
    title="SA-Net-50",
    paper=paper_of("shuffle_attention"),
    source="wofmanaf/SA-Net@00a6760",
    source_license="none found",
    summary="ResNet-50 with shuffle attention in 64 groups at the end of every bottleneck's branch. It gates "
    "channels and places for 708 weights in all.",
    summary_zh="在 ResNet-50 每个瓶颈块的残差分支末端接 64 组的混洗注意力。通道门与空间门合计只增加 708 个参数。",
    reported="ImageNet top-1: 77.72 (paper), 77.88 (released model).",
    differences=(
        "Counts printed by torchsummary miss the four vectors (two scales, two shifts) of each attention layer.",
    ),
    parameters=25_557_740,
    macs=4089.2,
    image_size=224,
)
def sa_resnet50(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """ResNet-50 with `shuffle_attention`, see `ResNet`."""
    return shuffle_attention_resnet50("sa_resnet50", num_classes, in_channels, features_only)


def shuffle_attention_resnet50(called: str, num_classes: int, in_channels: int, features_only: bool) -> ResNet:
    """SA-Net-50 under any name."""
    blocks = [partial(bottleneck, attention=ShuffleAttention)] * 4

    return _resnet(called, num_classes, in_channels, features_only, blocks)


@register_network(
    "ge_resnet50_theta_minus",
    title="GE-ResNet-50 theta minus",
    paper=paper_of("ge"),
    source="hujie-frank/GENet@ae791f8 (Caffe graph)",
    source_license="none found",
    summary="ResNet-50 whose bottlenecks gate each channel with the sigmoid of its own mean. It has not one weight "
    "more than ResNet-50.",
    summary_zh="ResNet-50 的每个瓶颈块以各通道自身均值的 sigmoid 作为通道门。与 ResNet-50 相比不增加任何参数。",
    reported="No figure recorded; the authors publish the graph.",
    differences=(
        CAFFE_STRIDE,
        CAFFE_POOL,
    ),
    parameters=25_557_032,
    macs=3858.0,
    image_size=224,
    min_size=3,
)
def ge_resnet50_theta_minus(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """ResNet-50 with `ge` of the variant theta_minus, see `ResNet`."""
    return _gather_excite("theta_minus", num_classes, in_channels, features_only)


@register_network(
    "ge_resnet50_theta",
    title="GE-ResNet-50 theta",
    paper=paper_of("ge"),
    source="hujie-frank/GENet@ae791f8 (Caffe graph)",
    source_license="none found",
    summary="ResNet-50 whose bottlenecks gate each channel by a learnt filter over its whole map. The filters fix "
    "the size of the images.",
    summary_zh="ResNet-50 的每个瓶颈块用覆盖整张特征图的可学习滤波器得到通道门。因此图像尺寸在构建时即固定。",
    reported="No figure recorded; the authors publish the graph.",
    differences=(
        CAFFE_STRIDE,
        CAFFE_POOL,
        "The authors' graph is for 224 x 224; image_size builds it for others.",
    ),
    parameters=31_106_600,
    macs=3863.5,
    image_size=224,
    min_size=3,
)
def ge_resnet50_theta(
    num_classes: int = 1000, in_channels: int = 3, features_only: bool = False, image_size: int | Sequence[int] = 224
) -> ResNet:
    """ResNet-50 with `ge` of the variant theta, for images of one size (one side, or height and width)."""
    return _gather_excite("theta", num_classes, in_channels, features_only, image_size)


@register_network(
    "ge_resnet50_theta_plus",
    title="GE-ResNet-50 theta plus",
    paper=paper_of("ge"),
    source="hujie-frank/GENet@ae791f8 (Caffe graph)",
    source_license="none found",
    summary="ResNet-50 whose bottlenecks gate each channel by learnt filters over whole maps and a bottleneck over "
    "the channels. The strongest of the three, and made for one size of images.",
    summary_zh="ResNet-50 的瓶颈块先以整图滤波器汇集各通道，再经通道瓶颈得到门。"
    "它是三者中最强的，且只适用于构建时的图像尺寸。",
    reported="No figure recorded; the authors publish the graph.",
    differences=(
        CAFFE_STRIDE,
        CAFFE_POOL,
        "The authors' graph is for 224 x 224; image_size builds it for others.",
    ),
    parameters=33_637_592,
    macs=3866.0,
    image_size=224,
    min_size=3,
)
def ge_resnet50_theta_plus(
    num_classes: int = 1000, in_channels: int = 3, features_only: bool = False, image_size: int | Sequence[int] = 224
) -> ResNet:
    """ResNet-50 with `ge` of the variant theta_plus, for images of one size (one side, or height and width)."""
    return _gather_excite("theta_plus", num_classes, in_channels, features_only, image_size)


def _gather_excite(
    variant: str, num_classes: int, in_channels: int, features_only: bool, image_size: int | Sequence[int] | None = None
) -> ResNet:
    name = f"ge_resnet50_{variant}"
    size = None if image_size is None else checks.pair(name, "image_size", image_size, least=3)

    sizes = [None if size is None else [_side(n, stage) for n in size] for stage in range(4)]
    blocks = [
        partial(bottleneck, attention=partial(GatherExcite, variant=variant, feat_size=s), stride_first=True)
        for s in sizes
    ]
    return _resnet(name, num_classes, in_channels, features_only, blocks, caffe=True, image_size=size)


def _side(image: int, stage: int) -> int:
    """The height or width of a stage's map behind a stem and a pooling that round up, and do not pad."""
    return (
        max(math.ceil((math.ceil(image / 2) - 3) / 2) + 1, 1) if stage == 0 else math.ceil(_side(image, stage - 1) / 2)
    )


@register_network(
    "sknet50",
    title="SKNet-50",
    paper=paper_of("sk"),
    source="implus/SKNet@17dd708 (Caffe graph)",
    source_license="none found",
    summary="ResNeXt-50 whose 3x3 convolutions are selective kernels, of 3x3 and of dilated 3x3, in 32 groups. Each"
    " block so weighs its two reaches by the content.",
    summary_zh="把 ResNeXt-50 的 3x3 卷积换成 32 组的选择核单元（普通与空洞 3x3 两支）。每个块按内容权衡两种感受野。",
    reported="ImageNet top-1 error, single crop 224: 20.79.",
    differences=(
        CAFFE_POOL,
        "timm's skresnext50_32x4d pads the first pooling, and else computes the same; its skresnet networks are"
        " other designs.",
    ),
    parameters=27_479_784,
    macs=4462.7,
    image_size=224,
    min_size=3,
)
def sknet50(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """ResNeXt-50 32x4d with `sk`, see `ResNet`."""

    def middle(channels: int, stride: int) -> nn.Module:
        return SK(channels, stride=stride)

    blocks = [partial(bottleneck, widening=2, middle=middle)] * 4

    return _resnet("sknet50", num_classes, in_channels, features_only, blocks, caffe=True)


@register_network(
    "epsanet50",
    title="EPSANet-50 (small)",
    paper=paper_of("psa"),
    source="murufeng/EPSANet@9955041",
    source_license="MIT",
    summary="ResNet-50 whose 3x3 convolutions are pyramids of kernels 3, 5, 7 and 9, weighed against each other per"
    " channel. It has fewer weights than ResNet-50.",
    summary_zh="把 ResNet-50 的 3x3 卷积换成 3、5、7、9 四种卷积核的金字塔，并逐通道相互加权。参数比 ResNet-50 更少。",
    reported="ImageNet top-1: 77.49.",
    differences=(
        "Only the small form of the paper is in the authors' code; the large one, published with 27.90M, is not.",
        "PSA's map is normalised and rectified, as a convolution's.",
    ),
    parameters=22_561_715,
    macs=3597.9,
    image_size=224,
)
def epsanet50(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """ResNet-50 with `psa`, see `ResNet`."""

    def middle(channels: int, stride: int) -> nn.Module:
        return nn.Sequential(PSA(channels, stride=stride), nn.BatchNorm2d(channels), nn.ReLU())

    blocks = [partial(bottleneck, middle=middle)] * 4

    return _resnet("epsanet50", num_classes, in_channels, features_only, blocks)


@register_network(
    "scnet50",
    title="SCNet-50",
    paper=paper_of("sc_bottleneck"),
    source="MCG-NKU/SCNet@c0b5bd6",
    source_license="none found",
    summary="ResNet-50 whose bottlenecks have two lanes, a plain one and one that a coarse copy of itself "
    "calibrates. As many weights as ResNet-50, and a wider view.",
    summary_zh="ResNet-50 的瓶颈块分为两路，一路普通卷积，一路由自身的粗粒度副本校准。"
    "参数量与 ResNet-50 相当，视野更广。",
    reported="ImageNet top-1 error: 22.19.",
    differences=("Images must have at least 97 x 97 pixels, as the last maps are pooled by 4.",),
    parameters=25_564_584,
    macs=3925.3,
    image_size=224,
    min_size=97,
)
def scnet50(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """ResNet-50 of `sc_bottleneck`, see `ResNet`."""

    def block(channels: int, planes: int, stride: int) -> nn.Module:
        return SCBottleneck(channels, 4 * planes, planes, stride, downsample=channels != 4 * planes)

    return _resnet("scnet50", num_classes, in_channels, features_only, [block] * 4, min_size=97)


@register_network(
    "scnet50_v1d",
    title="SCNet-50 v1d",
    paper=paper_of("sc_bottleneck"),
    source="MCG-NKU/SCNet@c0b5bd6",
    source_license="none found",
    summary="SCNet-50 with three 3x3 convolutions for its stem, and averages where the others stride. On ImageNet "
    "it makes 2.7 points fewer errors.",
    summary_zh="SCNet-50 的改进版，茎部用三个 3x3 卷积，降采样处改用平均池化。在 ImageNet 上错误率降低 2.7 个百分点。",
    reported="ImageNet top-1 error: 19.53.",
    differences=("Images must have at least 97 x 97 pixels, as the last maps are pooled by 4.",),
    parameters=25_583_816,
    macs=4685.2,
    image_size=224,
    min_size=97,
)
def scnet50_v1d(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """ResNet-50-D of `sc_bottleneck`, see `ResNet`."""

    def block(channels: int, planes: int, stride: int) -> nn.Module:
        widens = channels != 4 * planes
        made = SCBottleneck(channels, 4 * planes, planes, stride, avd=True, downsample=widens)
        if widens:
            made.shortcut = shortcut(channels, 4 * planes, stride, pooled=True)
        return made

    return _resnet("scnet50_v1d", num_classes, in_channels, features_only, [block] * 4, deep_stem, min_size=97)


@register_network(
    "resnest50",
    title="ResNeSt-50",
    paper=paper_of("split_attention"),
    source="zhanghang1989/ResNeSt@1dfb3e8",
    source_license="Apache-2.0",
    summary="ResNet-50-D whose 3x3 convolutions are split attention of radix 2, with averages where the others "
    "stride. It has no convolution with a stride but the stem's first.",
    summary_zh="ResNet-50-D 的 3x3 卷积换成基数为 2 的分裂注意力，降采样处改用平均池化。除茎部首层外，卷积都不带步幅。",
    reported="ImageNet top-1, 224: 81.03.",
    differences=("timm's resnest50d has as many parameters and names them otherwise.",),
    parameters=27_483_240,
    macs=5371.2,
    image_size=224,
)
def resnest50(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """ResNet-50-D with `split_attention`, see `ResNet`."""
    return _resnest("resnest50", num_classes, in_channels, features_only, lambda conv, pool: (conv, pool))


@register_network(
    "resnest50_fast",
    title="ResNeSt-50 fast (2s1x64d)",
    paper=paper_of("split_attention"),
    source="zhanghang1989/ResNeSt@1dfb3e8",
    source_license="Apache-2.0",
    summary="ResNeSt-50 that averages before its split attention, not after it. It saves a fifth of the multiply-adds.",
    summary_zh="在分裂注意力之前而非之后做平均池化的 ResNeSt-50。它节省约五分之一的乘加量。",
    reported="No figure recorded.",
    differences=("The authors' other fast models differ in radix, groups and width.",),
    parameters=27_483_240,
    macs=4330.7,
    image_size=224,
)
def resnest50_fast(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """ResNet-50-D with `split_attention` after the averages, see `ResNet`."""
    return _resnest("resnest50_fast", num_classes, in_channels, features_only, lambda conv, pool: (pool, conv))


def _resnest(
    called: str,
    num_classes: int,
    in_channels: int,
    features_only: bool,
    order: Callable[[nn.Module, nn.Module], tuple[nn.Module, nn.Module]],
) -> ResNet:
    def middle(channels: int, stride: int) -> nn.Module:
        conv = SplitAttention(channels, channels, 3, padding=1, bias=False, norm_layer=nn.BatchNorm2d)
        return conv if stride == 1 else nn.Sequential(*order(conv, nn.AvgPool2d(3, stride, padding=1)))

    blocks = [partial(bottleneck, middle=middle, pooled=True)] * 4

    return _resnet(called, num_classes, in_channels, features_only, blocks, deep_stem)
