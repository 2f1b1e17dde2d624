"""HCGNet's transition: the gated cell on a strided convolution, between two hybrid blocks."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely
from attnzoo.modules.convolution.hcg import GATE_KEYS, HCGNET, Gates, PreConv
from attnzoo.registry import register


@register(
    "hcg_transition",
    title="HCGNet transition (gated down-sampling cell)",
    contract="conv",
    paper=HCGNET,
    source="winycg/HCGNet@229ad0b",
    source_license="none found",
    summary="The cell between two hybrid blocks: a strided 3x3 convolution under the forget and update gates of hcg. "
    "Nothing is concatenated, so that map and channels shrink.",
    summary_zh="位于两个混合块之间的单元：步进 3x3 卷积，配以 hcg 的遗忘门与更新门。"
    "不做拼接，因此特征图与通道数都减小。",
    placement="Between the hybrid blocks of HCGNet.",
    reported="Authors' table: HCGNet-B ImageNet top-1 error 21.5, 12.9M parameters; HCGNet-A3 CIFAR-100 error 15.96.",
    differences=(
        "The authors' CIFAR networks end it with a scheduled DropBlock, their ImageNet networks, and so this, do not.",
        "The authors' code takes square maps only; here any.",
        "Both reductions are 4 by default, in hcg 2.",
    ),
    inert=("gates.places.bias", "gates.near_places.bias", "gates.far_places.bias"),
)
class HCGTransition(nn.Module):
    """u f(u) + n(u), u = spread(point(x)), f and n the gates of hcg; convolutions come after norm and ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: g, channels of the output, at most in_channels.
        stride: of `spread`, 3x3.
        reduction: the update gate's bottleneck is 2 g // reduction wide.
        forget_reduction: the forget gate's bottleneck is g // forget_reduction wide.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    Cost: about m in_channels + 9 m g + 18 g + 8 g^2 / reduction + 2 g^2 / forget_reduction weights, m the channels of
        `point`, midway between in_channels and g.
    Raises: AttnzooError for more channels out than in, a bottleneck without channels, a training batch of one, or an
        input that is not (B, in_channels, H, W).
    """

    reference_keys = GATE_KEYS

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 2, reduction: int = 4, forget_reduction: int = 4
    ) -> None:
        super().__init__()
        checks.positive("hcg_transition", in_channels=in_channels, stride=stride)
        checks.between("hcg_transition", 1, in_channels, out_channels=out_channels)
        mid = in_channels - (in_channels - out_channels) // 2
        self.in_channels = in_channels
        self.point = PreConv(in_channels, mid)
        self.spread = PreConv(mid, out_channels, 3, stride)
        self.gates = Gates("hcg_transition", out_channels, reduction, forget_reduction)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("hcg_transition", x, self.in_channels)
        if self.training:
            checks.batch_statistics("hcg_transition", x)
        y = self.point(x)
        return self.gates(precisely(self.spread, y)).to(y.dtype)
