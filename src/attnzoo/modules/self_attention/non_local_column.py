"""The non-local block of RNAN: its softmax runs over the queries, so that every key hands out a weight of 1."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, to_map_like, to_tokens
from attnzoo.kernels.column_attention import column_attention
from attnzoo.registry import Paper, register

RNAN = Paper(
    title="Residual Non-local Attention Networks for Image Restoration",
    authors="Zhang, Li, Li, Zhong, Fu",
    venue="ICLR",
    year=2019,
    url="https://arxiv.org/abs/1903.10082",
)


@register(
    "non_local_column",
    title="Non-local block with softmax over the queries (RNAN)",
    contract="feature",
    paper=RNAN,
    source="yulunzhang/RNAN@aedd126",
    source_license="none found",
    summary="The embedded-Gaussian non-local block, but for its softmax: it runs over the queries, so that every place "
    "hands out its value in shares that sum to 1. What a place receives need not sum to 1.",
    summary_zh="与嵌入高斯形式的非局部模块相同，只是 softmax 沿查询方向：每个位置把自己的值按总和为 1 的份额分发出去。"
    "一个位置收到的权重之和不必为 1。",
    placement="At the head of the mask branch of residual_non_local.",
    reported="No headline figure of its own.",
    differences=(
        "The paper describes the usual softmax over the keys; every released model was trained with this one.",
        "The reference stores the matrix of all pairs; ours does not, in forward and backward.",
    ),
    inert=("query.bias",),
)
class NonLocalColumn(nn.Module):
    """x + proj(y), y_i = sum_j softmax_i(q_i k_j) v_j.

    Args:
        channels: C, the channels of the input.
        inter_channels: C', of queries, keys and values; half the channels by default.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 4 C C' + 3 C' + C parameters; N (4 C C') + 2 N^2 C' multiply-adds for N places. The projection starts at
        zero: the fresh block returns its input.
    Raises: AttnzooError for inter_channels below 1, a single channel without them, or an input that is not
        (B, C, H, W).
    """

    reference_keys = {"theta": "query", "phi": "key", "g": "value", "W": "proj"}

    def __init__(self, channels: int, inter_channels: int | None = None) -> None:
        super().__init__()
        checks.at_least("non_local_column", 2 if inter_channels is None else 1, channels=channels)
        width = channels // 2 if inter_channels is None else inter_channels
        checks.positive("non_local_column", inter_channels=width)
        self.channels = channels
        self.query = nn.Conv2d(channels, width, 1)
        self.key = nn.Conv2d(channels, width, 1)
        self.value = nn.Conv2d(channels, width, 1)
        self.proj = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("non_local_column", x, self.channels)
        v = to_tokens(self.value(x))[:, None]
        y = column_attention(*self._queries_keys(x), v)[:, 0]  # (B, H W, C')
        return x + precisely(self.proj, to_map_like(y, x)).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map (B, 1, H W, H W), whose columns sum to 1."""
        q, k = self._queries_keys(x)
        return (q @ k.mT).softmax(dim=2)

    def _queries_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Twice (B, 1, H W, C')."""
        return to_tokens(precisely(self.query, x))[:, None], to_tokens(precisely(self.key, x))[:, None]
