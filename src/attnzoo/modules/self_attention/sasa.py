"""Stand-alone self-attention: multi-head attention in a window around every place, in place of a convolution."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import laid_out_like, neighbour_products, neighbour_sum, precisely, wide, without_autocast
from attnzoo.registry import Paper, register

SASA = Paper(
    title="Stand-Alone Self-Attention in Vision Models",
    authors="Ramachandran, Parmar, Vaswani, Bello, Levskaya, Shlens",
    venue="NeurIPS",
    year=2019,
    url="https://arxiv.org/abs/1906.05909",
)


@register(
    "sasa",
    title="Stand-alone self-attention layer",
    contract="context",
    plug_in=True,
    paper=SASA,
    source="paper; leaderj1001/Stand-Alone-Self-Attention@a983f0f (names of the weights, per_channel)",
    source_license="none found",
    summary="Multi-head attention of every place to the window around it, with learnt embeddings of the row and column "
    "offsets added to the keys. It takes the place of the 3x3 convolutions of a ResNet.",
    summary_zh="每个位置对其周围窗口做多头注意力，键上加有可学习的行偏移与列偏移嵌入。"
    "它用来取代 ResNet 中的 3x3 卷积。",
    placement="In place of all 3x3 convolutions of a ResNet, an average pooling after it where they have a stride; "
    "the stem takes sasa_stem.",
    reported="ResNet-50 with attention everywhere: 29% fewer parameters, 12% fewer FLOPs, equal accuracy on ImageNet.",
    differences=(
        "There is no code by the authors; the numbers are of a slow reading of the paper.",
        "The popular port never sums over the channels of a head: every channel attends on its own, whatever the "
        "heads. That is per_channel=True.",
        "The port accepts a stride and then fails or mixes up places; the paper pools after the layer instead.",
    ),
    inert=("key_conv.bias",),
)
class StandAloneSelfAttention(nn.Module):
    """softmax_j(q_i . (k_j + r_ij)) v_j summed over the window of i, per head; r holds row and column embeddings.

    Windows reach over the border, where the input is zero: keys and values there are the biases.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; num_heads divides them, into an even number.
        kernel_size: k, the side of the window, odd.
        padding: k // 2, the only one that keeps the map's size; None gives it.
        num_heads: h.
        bias: whether queries, keys and values have a bias.
        per_channel: the port: a softmax for every channel, row embeddings on the first half of all channels.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H, W), for any H and W from 1 up.
    Cost: 3 in_channels out_channels + k out_channels weights; as many multiply-adds as the three projections and
        2 k^2 out_channels at every place, in memory of k^2 h (k^2 out_channels with per_channel).
    Raises: AttnzooError for an even kernel_size, another padding, heads that do not divide the channels into even
        widths, or an input that is not (B, in_channels, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 7,
        padding: int | None = None,
        num_heads: int = 8,
        bias: bool = False,
        per_channel: bool = False,
    ) -> None:
        super().__init__()
        checks.positive("sasa", in_channels=in_channels, out_channels=out_channels, num_heads=num_heads)
        padding = checks.size_kept("sasa", kernel_size, padding)
        halves = {"halves": 2} if per_channel else {"2 * num_heads": 2 * num_heads}
        checks.divisible("sasa", "out_channels", out_channels, **halves)
        self.in_channels = in_channels
        self.kernel_size = kernel_size
        self.heads = out_channels if per_channel else num_heads  # with a softmax each
        self.groups = 1 if per_channel else num_heads  # of channels, with row and column embeddings each
        self.query_conv = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
        self.key_conv = nn.Conv2d(in_channels, out_channels, 1, padding=padding, bias=bias)
        self.value_conv = nn.Conv2d(in_channels, out_channels, 1, padding=padding, bias=bias)
        self.rel_h = nn.Parameter(torch.randn(out_channels // 2, kernel_size))
        self.rel_w = nn.Parameter(torch.randn(out_channels // 2, kernel_size))
        for conv in (self.query_conv, self.key_conv, self.value_conv):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Store the embeddings (out_channels / 2, 1, 1, k, 1) and (.., 1, 1, 1, k) as (out_channels / 2, k)."""
        return {key: value.flatten(1) if key in ("rel_h", "rel_w") else value for key, value in state.items()}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("sasa", x, self.in_channels)
        values = self.value_conv(x).unflatten(1, (self.heads, -1))
        with without_autocast(x):
            y = neighbour_sum(self._weights(x)[:, :, None], values, self.kernel_size)
        return laid_out_like(y.flatten(1, 2).to(x.dtype), x)

    def attention(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the attention map (B, h, H W, k^2), out_channels in place of h if per_channel."""
        return self._weights(x).flatten(3).transpose(2, 3)

    def _weights(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, h, k^2, H, W), in at least float32."""
        q, k = (wide(precisely(conv, x)).unflatten(1, (self.heads, -1)) for conv in (self.query_conv, self.key_conv))
        with without_autocast(x):
            positions = self._embeddings().to(q.dtype) @ q.flatten(3)  # (B, h, k^2, H W)
            logits = neighbour_products(q, k, self.kernel_size) + positions.unflatten(3, q.shape[3:])
            return logits.softmax(dim=2)

    def _embeddings(self) -> Tensor:
        """(heads, k^2, d): what to add to the keys, that of the row in the first half of a group's channels."""
        rows = self.rel_h[:, :, None].expand(-1, -1, self.kernel_size).unflatten(0, (self.groups, -1))
        columns = self.rel_w[:, None].expand(-1, self.kernel_size, -1).unflatten(0, (self.groups, -1))
        table = torch.cat([rows, columns], dim=1).flatten(2)  # (groups, out_channels / groups, k^2)
        return table.flatten(0, 1).unflatten(0, (self.heads, -1)).mT
