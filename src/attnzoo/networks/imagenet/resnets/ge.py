"""GENets."""

import math
from collections.abc import Sequence
from functools import partial

from attnzoo import checks
from attnzoo.modules.channel.ge import GatherExcite
from attnzoo.networks.imagenet.resnets.build import CAFFE_POOL, CAFFE_STRIDE, resnet
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import ResNet, bottleneck
from attnzoo.registry import paper_of, register_network

SOURCE = "hujie-frank/GENet@ae791f8 (Caffe graph)"
REPORTED = "No figure recorded; the authors publish the graph."


def gather_excite(
    called: str,
    num_classes: int,
    in_channels: int,
    features_only: bool,
    variant: str,
    image_size: tuple[int, int] | None = None,
) -> ResNet:
    """ResNet-50 with `ge` of a variant, made for images of one size where it learns its gathers."""
    sizes = [None if image_size is None else [_side(n, stage) for n in image_size] for stage in range(4)]
    blocks = [
        partial(bottleneck, attention=partial(GatherExcite, variant=variant, feat_size=s), stride_first=True)
        for s in sizes
    ]
    return resnet(
        called, num_classes, in_channels, features_only, depth=50, blocks=blocks, caffe=True, image_size=image_size
    )


def _side(image: int, stage: int) -> int:
    """The height or width of a stage's map behind a stem and a pooling that round up, and do not pad."""
    return (
        max(math.ceil((math.ceil(image / 2) - 3) / 2) + 1, 1) if stage == 0 else math.ceil(_side(image, stage - 1) / 2)
    )


def _enter_sized(variant: str, title: str, parameters: int, macs: float, summary: str, summary_zh: str) -> None:
    name = f"ge_resnet50_{variant}"

    @register_network(
        name,
        title=title,
        paper=paper_of("ge"),
        source=SOURCE,
        source_license="none found",
        summary=summary,
        summary_zh=summary_zh,
        reported=REPORTED,
        differences=(
            CAFFE_STRIDE,
            CAFFE_POOL,
            "The authors' graph is for 224 x 224; image_size builds it for others.",
        ),
        parameters=parameters,
        macs=macs,
        image_size=224,
        min_size=3,
    )
    def make(
        num_classes: int = 1000,
        in_channels: int = 3,
        features_only: bool = False,
        image_size: int | Sequence[int] = 224,
    ) -> ResNet:
        """ResNet-50 with `ge`, for images of one size (one side, or height and width); else as in `Network`."""
        size = checks.pair(name, "image_size", image_size, least=3)

        return gather_excite(name, num_classes, in_channels, features_only, variant, size)


preset(
    "ge_resnet50_theta_minus",
    partial(gather_excite, variant="theta_minus"),
    title="GE-ResNet-50 theta minus",
    paper=paper_of("ge"),
    source=SOURCE,
    source_license="none found",
    summary="ResNet-50 whose bottlenecks gate each channel with the sigmoid of its own mean. It has not one weight "
    "more than ResNet-50.",
    summary_zh="ResNet-50 的每个瓶颈块以各通道自身均值的 sigmoid 作为通道门。与 ResNet-50 相比不增加任何参数。",
    reported=REPORTED,
    differences=(CAFFE_STRIDE, CAFFE_POOL),
    parameters=25_557_032,
    macs=3858.0,
    image_size=224,
    min_size=3,
)
_enter_sized(
    "theta",
    "GE-ResNet-50 theta",
    31_106_600,
    3863.5,
    "ResNet-50 whose bottlenecks gate each channel by a learnt filter over its whole map. The filters fix the size of "
    "the images.",
    "ResNet-50 的每个瓶颈块用覆盖整张特征图的可学习滤波器得到通道门。因此图像尺寸在构建时即固定。",
)
_enter_sized(
    "theta_plus",
    "GE-ResNet-50 theta plus",
    33_637_592,
    3866.0,
    "ResNet-50 whose bottlenecks gate each channel by learnt filters over whole maps and a bottleneck over the "
    "channels. The strongest of the three, and made for one size of images.",
    "ResNet-50 的瓶颈块先以整图滤波器汇集各通道，再经通道瓶颈得到门。它是三者中最强的，且只适用于构建时的图像尺寸。",
)
