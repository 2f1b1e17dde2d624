"""The LSKNet attention block: LSK between two projections, with a shortcut."""

from torch import Tensor

from attnzoo import checks
from attnzoo.blocks import SQUARES, GatedProjection
from attnzoo.modules.channel_spatial.lsk import LSK, LSKNET
from attnzoo.registry import register


@register(
    "lsk_block",
    title="LSKNet attention block around LSK",
    contract="feature",
    paper=LSKNET,
    source="zcablii/LSKNet@cbe06ca",
    source_license="CC BY-NC",
    summary="Puts lsk between two pointwise projections, with a GELU after the first, and adds the input. The unit "
    "that LSKNet repeats, before its layer scale and MLP.",
    summary_zh="在两个逐点投影之间放置 lsk，第一个投影后接 GELU，最后加回输入。"
    "这是 LSKNet 反复使用的单元，其外再套层缩放与 MLP。",
    placement="Every block of LSKNet.",
    reported="No headline figure recorded here.",
    differences=(
        "In the network it stands behind a BatchNorm and a layer scale that starts at 0.01, and an MLP with a "
        "depthwise convolution follows, as in VAN.",
    ),
    not_applicable=SQUARES,
)
class LSKBlock(GatedProjection):
    """x + proj_out(LSK(gelu(proj_in(x)))).

    Args:
        channels: C, the channels of the input, even.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 3.5 C^2 + 80 C + 198 parameters; linear in the map.
    Raises: AttnzooError for odd channels, or an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        checks.positive("lsk_block", channels=channels)
        checks.divisible("lsk_block", "channels", channels, halves=2)
        super().__init__(channels, LSK(channels))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("lsk_block", x, self.channels)
        return super().forward(x)
