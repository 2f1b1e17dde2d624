"""The SegNeXt attention block: MSCA between two projections, with a shortcut."""

from torch import Tensor

from attnzoo import checks
from attnzoo.blocks import SQUARES, GatedProjection
from attnzoo.modules.channel_spatial.msca import MSCA, SEGNEXT
from attnzoo.registry import register


@register(
    "msca_block",
    title="SegNeXt attention block around MSCA",
    contract="feature",
    paper=SEGNEXT,
    source="Visual-Attention-Network/SegNeXt@c87bcae",
    source_license="Apache-2.0",
    summary="Puts msca between two pointwise projections, with a GELU after the first, and adds the input. The unit "
    "that SegNeXt repeats, before its layer scale and MLP.",
    summary_zh="在两个逐点投影之间放置 msca，第一个投影后接 GELU，最后加回输入。"
    "这是 SegNeXt 反复使用的单元，其外再套层缩放与 MLP。",
    placement="Every MSCAN block of SegNeXt.",
    reported="SegNeXt, ADE20K mIoU at a single scale: T 41.1, S 44.3, B 48.5, L 51.0.",
    differences=(
        "In the network it stands behind a BatchNorm and a layer scale that starts at 0.01, inside another "
        "shortcut, and an MLP with a depthwise convolution follows; the shortcut here lies within that scale.",
    ),
    not_applicable=SQUARES,
)
class MSCABlock(GatedProjection):
    """x + proj_out(MSCA(gelu(proj_in(x)))).

    Args:
        channels: C, the channels of the input.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 3 C^2 + 113 C parameters; linear in the map.
    Raises: AttnzooError for an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        checks.positive("msca_block", channels=channels)
        super().__init__(channels, MSCA(channels))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("msca_block", x, self.channels)
        return super().forward(x)
