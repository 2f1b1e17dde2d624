"""HAttMatting: a dilated ResNeXt without its pooling, and a head that turns its maps into an alpha matte."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.modules.network.hatt_matting import HAttMatting
from attnzoo.networks.base import ImageNetwork
from attnzoo.networks.resnet import ResNet, bottleneck, draw_weights, large_stem
from attnzoo.registry import paper_of, register_network

DEPTHS: Final = (3, 4, 23, 3)  # of 101 layers
STRIDES: Final = (2, 8)  # of the shallow and the deep map


class MattingNetwork(ImageNetwork):
    """head(low, high), the backbone's last maps of strides 2 and 8.

    Args:
        called, in_channels: as in `ImageNetwork`.
        backbone: gives maps and tells of them in `feature_info`, as our networks and timm's do with features_only=True.
        channels, dilations, reduction: of `hatt_matting`.

    Shape: (B, in_channels, H, W) -> alpha (B, 1, H, W) in (0, 1), for multiples of 8.
    Raises: AttnzooError for a backbone without such maps, a training batch of one, and as `ImageNetwork`.
    """

    def __init__(
        self,
        called: str,
        in_channels: int,
        backbone: nn.Module,
        channels: int,
        dilations: Sequence[int],
        reduction: int,
    ) -> None:
        super().__init__(called, 1, in_channels, multiple_of=STRIDES[-1])
        self.places, (low, high) = checks.strides(called, backbone, STRIDES)
        self.backbone = backbone
        self.head = HAttMatting(high, low, channels, dilations, reduction)

    def forward(self, x: Tensor) -> Tensor:
        self.check_input(x)
        maps = self.backbone(x)
        return self.head(*(maps[place] for place in self.places))


def resnext(called: str, in_channels: int, depths: Sequence[int] = DEPTHS) -> ResNet:
    """ResNeXt 32x8d without pooling, its last stage dilated from the second block on: strides 2, 4, 8 and 8."""
    block = partial(bottleneck, widening=4, groups=32)
    network = ResNet(
        called,
        1,
        in_channels,
        features_only=True,
        blocks=[block, block, block, [block, *[partial(block, dilation=2)] * (depths[-1] - 1)]],
        depths=depths,
        strides=(1, 2, 2, 1),
        stem=large_stem,
        stem_stride=2,
    )
    draw_weights(network)
    return network


@register_network(
    "hatt_matting_resnext101",
    title="HAttMatting",
    paper=paper_of("hatt_matting"),
    source="paper",
    source_license="not applicable",
    summary="A ResNeXt-101 32x8d without its pooling and with a dilated last stage, and hatt_matting on its first and "
    "last maps. It gives the alpha matte of an image without a trimap.",
    summary_zh="去掉池化、最后一级改为空洞卷积的 ResNeXt-101 32x8d，在其首末两级特征上接 hatt_matting。"
    "无需三分图即可给出图像的透明度图。",
    reported="No headline figure recorded here.",
    differences=(
        "The authors published no network code; this is our reading of the paper, with medium to low certainty. The "
        "head is held to stored numbers of the same reading, the assembly to none.",
        "The last stage is dilated by 2 from its second block on, as is usual where a stage gives up its stride.",
        "Any backbone with maps of strides 2 and 8 can take the place of ResNeXt-101.",
        "The losses are attnzoo.networks.losses.MattingLoss; one of the ports adds SSIM with the wrong sign.",
    ),
    parameters=107_593_665,
    macs=667_175.9,
    image_size=512,
    task="matting",
    multiple_of=8,
)
def hatt_matting_resnext101(
    in_channels: int = 3,
    backbone: nn.Module | None = None,
    channels: int = 256,
    dilations: Sequence[int] = (6, 12, 18),
    reduction: int = 2,
) -> MattingNetwork:
    """`hatt_matting` on a dilated ResNeXt-101 32x8d, or on a backbone of your own, see `MattingNetwork`."""
    name = "hatt_matting_resnext101"
    checks.positive(name, in_channels=in_channels)
    chosen = resnext(name, in_channels) if backbone is None else backbone
    return MattingNetwork(name, in_channels, chosen, channels, dilations, reduction)
