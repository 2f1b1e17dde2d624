"""Efficient attention: keys and values first, so that the cost grows linearly with the map."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely
from attnzoo.registry import Paper, register


@register(
    "efficient_attention",
    title="Efficient Attention (linear complexity)",
    contract="feature",
    paper=Paper(
        title="Efficient Attention: Attention with Linear Complexities",
        authors="Shen, Zhang, Zhao, Yi, Li",
        venue="WACV",
        year=2021,
        url="https://arxiv.org/abs/1812.01243",
    ),
    source="cmsflash/efficient-attention@46a5f9e",
    source_license="none found",
    summary="Normalises keys over the places and queries over the channels, each by a softmax of its own, and "
    "multiplies keys with values first. A small matrix then stands for the map of all pairs of places.",
    summary_zh="对键在位置上、对查询在通道上分别做 softmax，并先计算键与值的乘积。"
    "于是一个小矩阵代替了所有位置两两之间的注意力图。",
    placement="After residual stages, where a non-local block would stand.",
    reported="No headline figure recorded here.",
    differences=(
        "Widths that the heads do not divide lose channels or fail late in the authors' code; here they are refused.",
        "No learnt scalar starts at zero: the block changes its input from the first step.",
    ),
    inert=("keys.bias",),
)
class EfficientAttention(nn.Module):
    """x + reprojection(softmax_channels(q) (softmax_places(k)^T v)), in h heads, without scale.

    Args:
        channels: C, the channels of the input.
        key_channels: K, of keys and queries, channels by default; num_heads divides it.
        num_heads: h.
        value_channels: V, of the values, channels by default; num_heads divides it.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C K + 2 C V + 2 K + V + C parameters; H W (2 C K + 2 C V + 2 K V / h) multiply-adds.
    Raises: AttnzooError for heads that do not divide the widths, or an input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        key_channels: int | None = None,
        num_heads: int = 1,
        value_channels: int | None = None,
    ) -> None:
        super().__init__()
        key_channels = channels if key_channels is None else key_channels
        value_channels = channels if value_channels is None else value_channels
        checks.positive("efficient_attention", channels=channels, num_heads=num_heads)
        checks.positive("efficient_attention", key_channels=key_channels, value_channels=value_channels)
        checks.divisible("efficient_attention", "key_channels", key_channels, num_heads=num_heads)
        checks.divisible("efficient_attention", "value_channels", value_channels, num_heads=num_heads)
        self.channels = channels
        self.num_heads = num_heads
        self.keys = nn.Conv2d(channels, key_channels, 1)
        self.queries = nn.Conv2d(channels, key_channels, 1)
        self.values = nn.Conv2d(channels, value_channels, 1)
        self.reprojection = nn.Conv2d(value_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("efficient_attention", x, self.channels)
        q, k = self._queries_keys(x)
        v = self._heads(self.values(x))  # (B, h, V / h, N)
        context = v @ k.mT  # (B, h, V / h, K / h)
        return x + self.reprojection((context @ q).flatten(1, 2).unflatten(2, x.shape[2:]))

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map that the product of both softmaxes stands for (B, h, N, N)."""
        q, k = self._queries_keys(x)
        return q.mT @ k

    def _queries_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> queries and keys (B, h, K / h, N), over channels and over places summing to 1."""
        q, k = (self._heads(precisely(conv, x)) for conv in (self.queries, self.keys))
        return q.softmax(dim=2).to(x.dtype), k.softmax(dim=3).to(x.dtype)

    def _heads(self, x: Tensor) -> Tensor:
        return x.flatten(2).unflatten(1, (self.num_heads, -1))
