"""Residual networks of the four-stage and the wide kind for 32 x 32 images, plain and with attention."""

from functools import partial
from typing import Final

from torch import nn

from attnzoo.modules.channel.se import SE
from attnzoo.modules.channel_spatial.shuffle_attention import ShuffleAttention
from attnzoo.networks.imagenet.resnets.sa import shuffle_attention_resnet
from attnzoo.networks.keys import Keys
from attnzoo.networks.papers import RESNET
from attnzoo.networks.resnet import Attention, PreActivation, ResNet, basic, bottleneck, small_stem
from attnzoo.registry import Paper, paper_of, register_network

STEM: Final = (
    "The stem is one 3x3 convolution with stride 1 and no pooling, as the images are small; torchvision's is a 7x7 "
    "convolution with stride 2 and a pooling."
)
COLLECTION: Final = "pprp/awesome-attention-mechanism-in-cv@59997fe, after kuangliu/pytorch-cifar"
POOLING: Final = "The original pools 4 x 4 windows, and so takes 32 x 32 images only; here the mean is over any map."


@register_network(
    "cifar_resnet18",
    title="ResNet-18 for CIFAR",
    paper=RESNET,
    source=COLLECTION,
    source_license="MIT",
    summary="Four stages of two basic blocks each, of 64 to 512 channels, behind one 3x3 convolution. The usual "
    "baseline on CIFAR where accuracy matters more than size.",
    summary_zh="在一个 3x3 卷积之后接四个阶段，每阶段两个基本残差块，通道数从 64 到 512。"
    "在 CIFAR 上重精度轻体积时，它是常用的基线。",
    reported="CIFAR-10 top-1 93.02 (older schedule of the collection; its 200-epoch cosine reaches about 95.5).",
    differences=(STEM, POOLING, "The 18 layers of the paper's own CIFAR networks are another design: see resnet20."),
    parameters=11_173_962,
    macs=555.4,
    image_size=32,
)
def cifar_resnet18(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """conv3x3, stages of [2, 2, 2, 2] basic blocks, see `ResNet`."""
    return ResNet(
        "cifar_resnet18",
        num_classes,
        in_channels,
        features_only,
        blocks=[basic] * 4,
        depths=(2, 2, 2, 2),
        stem=small_stem,
        expansion=1,
    )


@register_network(
    "cifar_resnet50",
    title="ResNet-50 for CIFAR",
    paper=RESNET,
    source=COLLECTION,
    source_license="MIT",
    summary="Four stages of 3, 4, 6 and 3 bottlenecks, of 256 to 2048 channels, behind one 3x3 convolution. The deep "
    "baseline of the CIFAR comparisons.",
    summary_zh="在一个 3x3 卷积之后接四个阶段，分别有 3、4、6、3 个瓶颈块，通道数从 256 到 2048。"
    "它是 CIFAR 比较中的深层基线。",
    reported="CIFAR-10 top-1 93.62 (older schedule of the collection).",
    differences=(STEM, POOLING),
    parameters=23_520_842,
    macs=1297.8,
    image_size=32,
)
def cifar_resnet50(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """conv3x3, stages of [3, 4, 6, 3] bottlenecks, see `ResNet`."""
    return ResNet(
        "cifar_resnet50",
        num_classes,
        in_channels,
        features_only,
        blocks=[bottleneck] * 4,
        depths=(3, 4, 6, 3),
        stem=small_stem,
    )


@register_network(
    "cifar_senet18",
    title="SENet-18 for CIFAR",
    paper=paper_of("se"),
    source=COLLECTION,
    source_license="MIT",
    summary="ResNet-18 with its normalisations before the convolutions, and SE at the end of every branch. The "
    "collection's usual example of attention on CIFAR.",
    summary_zh="归一化位于卷积之前的 ResNet-18，并在每个残差分支末端接 SE。它是该合集在 CIFAR 上使用注意力的常见示例。",
    reported="No figure of its own; the plain pre-activation ResNet-18 is given as 95.11 on CIFAR-10.",
    differences=(
        "The shortcuts' convolutions have no BatchNorm, and nothing normalises the map before the mean.",
        "SE has biases and a ratio of 16, and here takes maps that are not square.",
        POOLING,
    ),
    parameters=11_260_354,
    macs=555.5,
    image_size=32,
)
def cifar_senet18(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """conv3x3, stages of [2, 2, 2, 2] pre-activation blocks with `se`, see `ResNet`."""
    attention, keys = partial(SE, bias=True), {r"(fc\d)": r"attention.\1"}
    return _pre_activation("cifar_senet18", num_classes, in_channels, features_only, attention, keys)


@register_network(
    "cifar_sa_resnet18",
    title="SA-ResNet-18 for CIFAR",
    paper=paper_of("shuffle_attention"),
    source=COLLECTION,
    source_license="MIT",
    summary="ResNet-18 with its normalisations before the convolutions, and shuffle attention in 16 groups at the end "
    "of every branch. It adds 360 weights in all.",
    summary_zh="归一化位于卷积之前的 ResNet-18，并在每个残差分支末端接 16 组的混洗注意力。它总共只增加 360 个参数。",
    reported="No figure recorded.",
    differences=(
        "The published count 11,171,394 misses 240 numbers: it was printed by torchsummary, which does not see the "
        "four vectors (two scales, two shifts) of each attention layer.",
        "The shortcuts' convolutions have no BatchNorm, and nothing normalises the map before the mean.",
        POOLING,
    ),
    parameters=11_171_634,
    macs=555.4,
    image_size=32,
)
def cifar_sa_resnet18(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """conv3x3, stages of [2, 2, 2, 2] pre-activation blocks with `shuffle_attention`, see `ResNet`."""
    attention, keys = partial(ShuffleAttention, groups=16), {"sa": "attention"}
    return _pre_activation("cifar_sa_resnet18", num_classes, in_channels, features_only, attention, keys)


@register_network(
    "cifar_sa_resnet50",
    title="SA-ResNet-50 on CIFAR",
    paper=paper_of("shuffle_attention"),
    source=COLLECTION,
    source_license="MIT",
    summary="The ImageNet network sa_resnet50 with 10 classes, fed with 32 x 32 images. It ends on maps of one pixel, "
    "and needs a fifteenth of the multiply-adds of cifar_resnet50.",
    summary_zh="直接把 ImageNet 的 sa_resnet50 改为 10 类并输入 32x32 图像。其末端特征图只有一个像素，"
    "乘加量约为 cifar_resnet50 的十五分之一。",
    reported="No figure recorded.",
    differences=(
        "The published count 23,528,758 misses 472 numbers: it was printed by torchsummary, which does not see the "
        "four vectors (two scales, two shifts) of each attention layer.",
        "Unlike the other networks for CIFAR it keeps the large stem and its pooling.",
    ),
    parameters=23_529_230,
    macs=83.4,
    image_size=32,
)
def cifar_sa_resnet50(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """As `sa_resnet50`."""
    return shuffle_attention_resnet("cifar_sa_resnet50", num_classes, in_channels, features_only)


@register_network(
    "wrn16_4",
    title="Wide ResNet 16-4",
    paper=Paper(
        title="Wide Residual Networks",
        authors="Zagoruyko, Komodakis",
        venue="BMVC",
        year=2016,
        url="https://arxiv.org/abs/1605.07146",
    ),
    source="paper",
    source_license="not applicable",
    summary="Three stages of two pre-activation blocks with four times the usual 16, 32 and 64 channels. It trains "
    "fast, as it is shallow, and is yet more accurate than deep thin networks of its size.",
    summary_zh="三个阶段各有两个预激活残差块，通道数是通常 16、32、64 的四倍。"
    "它较浅因而训练快，却比同等大小的深而窄的网络更准。",
    reported="No headline figure recorded here.",
    differences=("Without the dropout that the paper tries between the convolutions.",),
    parameters=2_748_890,
    macs=392.6,
    image_size=32,
)
def wrn16_4(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> ResNet:
    """conv3x3, stages of [2, 2, 2] pre-activation blocks of 64, 128, 256 channels, BatchNorm, ReLU, see `ResNet`."""
    return ResNet(
        "wrn16_4",
        num_classes,
        in_channels,
        features_only,
        blocks=[PreActivation] * 3,
        depths=(2, 2, 2),
        planes=(64, 128, 256),
        expansion=1,
        stem=lambda images, channels: nn.Conv2d(images, channels, 3, padding=1, bias=False),
        stem_channels=16,
        tail=lambda channels: nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()),
    )


def _pre_activation(
    called: str, num_classes: int, in_channels: int, features_only: bool, attention: Attention, keys: Keys
) -> ResNet:
    return ResNet(
        called,
        num_classes,
        in_channels,
        features_only,
        blocks=[partial(PreActivation, attention=attention, keys=keys)] * 4,
        depths=(2, 2, 2, 2),
        stem=small_stem,
        expansion=1,
    )
