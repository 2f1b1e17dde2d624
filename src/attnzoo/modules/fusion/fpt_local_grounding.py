"""FPT locality-constrained grounding: every channel weighs its own window by its own softmax."""

from torch import Tensor

from attnzoo import checks
from attnzoo.modules.fusion.fpt_self import FPT
from attnzoo.modules.self_attention.sasa import StandAloneSelfAttention
from attnzoo.registry import register


@register(
    "fpt_local_grounding",
    title="FPT locality-constrained grounding transformer",
    contract="context",
    plug_in=True,
    paper=FPT,
    source="ZHANGDONG-NJUST/FPT@c7c76f9",
    source_license="none found",
    summary="Weighs the neighbours in a small window around every place, for each channel on its own, by the product "
    "of query and key plus a learnt offset of row or column. The authors use it on concatenated levels.",
    summary_zh="对每个位置小窗口内的邻居逐通道加权，权重来自查询与键（加上可学习的行或列偏移）的乘积。"
    "作者将其用于拼接后的多个层级。",
    placement="Instead of fpt_grounding where memory is short, on concatenated levels.",
    reported="Part of FPT; no headline figure recorded here.",
    differences=(
        "The arithmetic is that of a popular port of stand-alone self-attention, sasa with per_channel=True: a softmax "
        "for every channel, where the paper of that method sums over the channels of a head.",
        "The original's groups only reshape, and change nothing; its stride must be 1.",
    ),
    example={"kernel_size": 3},
)
class FPTLocalGrounding(StandAloneSelfAttention):
    """y_c(i) = sum_j softmax_j(q_c(i) (k_c(j) + r_c(j - i))) v_c(j), over the k x k window around place i.

    r_c depends on the row of the offset for the first half of the channels, on its column for the second.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, an even number.
        kernel_size: k, odd.
        groups: divides out_channels; without effect, as in the authors' code.
        bias: of the three convolutions; neighbours beyond the border then are the bias, and zero without.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H, W), for any H and W from 1 up.
    Cost: 3 in_channels out_channels + out_channels k parameters; memory for out_channels k^2 numbers at every place.
    Raises: AttnzooError for odd out_channels, an even kernel_size, groups that do not divide out_channels, or an input
        that is not (B, in_channels, H, W).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, groups: int = 1, bias: bool = False
    ) -> None:
        checks.positive("fpt_local_grounding", in_channels=in_channels, groups=groups)
        checks.multiple("fpt_local_grounding", 2, out_channels=out_channels)
        checks.divisible("fpt_local_grounding", "out_channels", out_channels, groups=groups)
        checks.odd("fpt_local_grounding", kernel_size=kernel_size)
        super().__init__(in_channels, out_channels, kernel_size, bias=bias, per_channel=True)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("fpt_local_grounding", x, self.in_channels)
        return super().forward(x)
