"""The VAN attention block: LKA between two projections, with a shortcut."""

from torch import Tensor

from attnzoo import checks
from attnzoo.blocks import GatedProjection
from attnzoo.modules.channel_spatial.lka import LKA, VAN
from attnzoo.registry import register


@register(
    "lka_block",
    title="VAN attention block around LKA",
    contract="feature",
    paper=VAN,
    source="Visual-Attention-Network/VAN-Classification@e19779b",
    source_license="Apache-2.0",
    summary="Puts lka between two pointwise projections, with a GELU after the first, and adds the input. The unit "
    "that VAN repeats, before its layer scale and MLP.",
    summary_zh="在两个逐点投影之间放置 lka，第一个投影后接 GELU，最后加回输入。"
    "这是 VAN 反复使用的单元，其外再套层缩放与 MLP。",
    placement="Every block of VAN; B0 has widths 32, 64, 160, 256 at strides 4, 8, 16, 32.",
    reported="VAN, ImageNet top-1: B0 75.4, B1 81.1, B2 82.8, B3 83.9.",
    differences=(
        "In the network it stands behind a BatchNorm and a layer scale that starts at 0.01, inside another "
        "shortcut, and an MLP with a depthwise convolution follows; the shortcut here lies within that scale.",
    ),
)
class LKABlock(GatedProjection):
    """x + proj_out(LKA(gelu(proj_in(x)))).

    Args:
        channels: C, the channels of the input.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C (3 C + 79) parameters; linear in the map.
    Raises: AttnzooError for an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        checks.positive("lka_block", channels=channels)
        super().__init__(channels, LKA(channels))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("lka_block", x, self.channels)
        return super().forward(x)
