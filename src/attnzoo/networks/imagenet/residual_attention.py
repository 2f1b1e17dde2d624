"""Residual Attention Networks: residual units, and between them trunks that the mask of an hourglass strengthens."""

from collections.abc import Sequence
from functools import partial

from torch import nn

from attnzoo.modules.spatial.residual_attention import ResidualAttention, ResidualUnit
from attnzoo.networks.resnet import ResNet, draw_weights, large_stem
from attnzoo.registry import paper_of, register_network

HALVINGS = (3, 2, 1)  # of the hourglasses of each stage: their smallest maps have 7 x 7 places at 224 x 224


def residual_attention_network(
    called: str, num_classes: int, in_channels: int, features_only: bool, counts: Sequence[int]
) -> ResNet:
    """A unit and `counts` attention modules in each of three stages, then three units; see `ResNet`."""
    network = ResNet(
        called,
        num_classes,
        in_channels,
        features_only,
        blocks=[*(partial(_attended, count=n, depth=d) for n, d in zip(counts, HALVINGS, strict=True)), _unit],
        depths=(1, 1, 1, 3),
        stem=large_stem,
        stem_stride=2,
        pool=nn.MaxPool2d(3, 2, ceil_mode=True),
        tail=_norm_act,
        min_size=31,
    )
    draw_weights(network)
    return network


def _unit(in_channels: int, planes: int, stride: int) -> ResidualUnit:
    return ResidualUnit(in_channels, 4 * planes, stride)


def _attended(in_channels: int, planes: int, stride: int, count: int, depth: int) -> nn.Sequential:
    attention = (ResidualAttention(4 * planes, depth) for _ in range(count))
    return nn.Sequential(_unit(in_channels, planes, stride), *attention)


def _norm_act(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


@register_network(
    "residual_attention56",
    title="Attention-56",
    paper=paper_of("residual_attention"),
    source="fwang91/residual-attention-network@bc207a8 (Caffe graph)",
    source_license="none found",
    summary="A residual network with one attention module in each of its first three stages, whose hourglass sees the "
    "stage's features down to 7 x 7 places. The module's mask can only strengthen the features of its trunk.",
    summary_zh="前三个阶段各含一个注意力模块的残差网络，模块的沙漏分支把该阶段特征一直缩小到 7 x 7。"
    "掩码只会增强主干特征。",
    reported="ImageNet top-1 error, single crop 224: 21.76 (repository).",
    differences=(
        "The usual PyTorch port pads its poolings, adds other maps after the interpolations, fixes their sizes, and "
        "stores a projection in every unit, used or not: 17.8M more parameters.",
        "The poolings round up instead of padding, as in the authors' Caffe graph.",
        "The graph pools 7 x 7 windows at its end, and so takes 224 x 224 images only; here the mean is over any map.",
    ),
    parameters=31_810_728,
    macs=6270.8,
    image_size=224,
    min_size=31,
)
def residual_attention56(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """One `residual_attention` in each of three stages, see `residual_attention_network`."""
    return residual_attention_network("residual_attention56", num_classes, in_channels, features_only, (1, 1, 1))


@register_network(
    "residual_attention92",
    title="Attention-92",
    paper=paper_of("residual_attention"),
    source="fwang91/residual-attention-network@bc207a8 (Caffe graph)",
    source_license="none found",
    summary="Attention-56 with one, two and three attention modules in its stages. The deeper maps, which are smaller, "
    "so get most of the attention.",
    summary_zh="与 Attention-56 相同，但三个阶段依次含一、二、三个注意力模块。较深、较小的特征图因此得到更多注意力。",
    reported="ImageNet top-1 error at 320: 19.5 (repository).",
    differences=(
        "No run of the authors' graph is stored for this depth; one is for residual_attention56, of the same code.",
        "The usual PyTorch port differs as it does for residual_attention56.",
    ),
    parameters=52_466_344,
    macs=10533.8,
    image_size=224,
    min_size=31,
)
def residual_attention92(num_classes: int = 1000, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """One, two and three `residual_attention` in three stages, see `residual_attention_network`."""
    return residual_attention_network("residual_attention92", num_classes, in_channels, features_only, (1, 2, 3))
