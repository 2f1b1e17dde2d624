"""AAConv, Attention-Augmented Convolution: some output channels of a convolution come from global attention."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    Positions,
    affinity,
    attention,
    by_offset,
    merge_heads,
    position_terms,
    precisely,
    split_heads,
    to_map,
    to_tokens,
    wide,
    without_autocast,
)
from attnzoo.registry import Paper, register


@register(
    "aa_conv",
    title="Attention-Augmented Convolution",
    contract="context",
    plug_in=True,
    paper=Paper(
        title="Attention Augmented Convolutional Networks",
        authors="Bello, Zoph, Vaswani, Shlens, Le",
        venue="ICCV",
        year=2019,
        url="https://arxiv.org/abs/1904.09925",
    ),
    source="paper; leaderj1001/Attention-Augmented-Conv2d@1ce94a3 (state keys, and legacy_reshape)",
    source_license="MIT",
    summary="A convolution gives most of the output channels, multi-head attention between all places the others. "
    "The attention's logits know how far apart two places are, in rows and in columns.",
    summary_zh="大部分输出通道来自卷积，其余来自所有位置之间的多头注意力。"
    "注意力的 logit 知道两个位置在行与列上相距多远。",
    placement="In place of the 3x3 convolutions in the last three stages of a ResNet, with 8 heads, key_dim about a "
    "fifth of out_channels (at least 20 a head) and value_dim a tenth.",
    reported="ResNet-50: +1.3% ImageNet top-1; RetinaNet on COCO: +1.4 mAP.",
    differences=(
        "The widely used PyTorch port reshapes the attention's result without a transpose, which scrambles channels "
        "and places: that is legacy_reshape=True; the default is the paper's listing.",
        "That port also projects with a k x k convolution (qkv_kernel_size), and its first version draws new position "
        "tables at every forward, which are never trained.",
        "A popular Chinese explanation prints the port; its formula adds the position vectors to the keys, which is "
        "the same as the two further products here.",
    ),
    example={"key_dim": 16, "value_dim": 8, "size": (7, 8)},
    inputs=("B C 7 8",),
    not_applicable={"two-sizes": "the tables of offsets fix H and W"},
)
class AAConv(nn.Module):
    """[conv(x), attn_out(softmax(q k^T + q . rel_h[y' - y] + q . rel_w[x' - x]) v)], q scaled by 1/sqrt(d).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, above value_dim.
        key_dim, value_dim: channels of the queries and of the values over all heads; num_heads divides both.
        kernel_size: of the convolution (odd).
        stride: of the convolution, queries, keys and values.
        num_heads: h.
        relative: whether the logits have the relative terms.
        size: (H', W') of the output, fixed; needed with relative.
        qkv_kernel_size: of the projection (odd).
        legacy_reshape: read the attention's result as the port does, see the card.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' = ceil(H / stride).
    Cost: k^2 in_channels (out_channels - value_dim) + in_channels (2 key_dim + value_dim) + value_dim^2 weights and
        2 (H' + W' - 1) d in the tables; attention in memory linear in H' W'.
    Raises: AttnzooError for widths that the heads do not divide, value_dim not below out_channels, an even kernel,
        relative without size, or an input that is not (B, in_channels, H, W) or gives another size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        key_dim: int,
        value_dim: int,
        kernel_size: int = 3,
        stride: int = 1,
        num_heads: int = 8,
        relative: bool = True,
        size: Sequence[int] | None = None,
        qkv_kernel_size: int = 1,
        legacy_reshape: bool = False,
    ) -> None:
        super().__init__()
        checks.positive("aa_conv", in_channels=in_channels, out_channels=out_channels, key_dim=key_dim)
        checks.positive("aa_conv", stride=stride, num_heads=num_heads)
        checks.between("aa_conv", 1, out_channels - 1, value_dim=value_dim)
        checks.divisible("aa_conv", "key_dim", key_dim, num_heads=num_heads)
        checks.divisible("aa_conv", "value_dim", value_dim, num_heads=num_heads)
        checks.odd("aa_conv", kernel_size=kernel_size, qkv_kernel_size=qkv_kernel_size)
        self.in_channels = in_channels
        self.num_heads = num_heads
        self.widths = (key_dim, key_dim, value_dim)
        self.legacy_reshape = legacy_reshape
        self.conv_out = nn.Conv2d(in_channels, out_channels - value_dim, kernel_size, stride, kernel_size // 2)
        self.qkv_conv = nn.Conv2d(in_channels, sum(self.widths), qkv_kernel_size, stride, qkv_kernel_size // 2)
        self.attn_out = nn.Conv2d(value_dim, value_dim, 1)
        self.size: tuple[int, int] | None = None
        if relative:
            known = checks.needed("aa_conv", "size", size, "the relative logits need the size of the output")
            self.size = checks.pair("aa_conv", "size", known)
            width = key_dim // num_heads
            self.key_rel_h, self.key_rel_w = (
                nn.Parameter(torch.randn(2 * n - 1, width) * width**-0.5) for n in self.size
            )

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("aa_conv", x, self.in_channels)
        local = self.conv_out(x)
        with without_autocast(x):
            q, k, v, positions = self._queries_keys_values(x)
            y = attention(q, k, v, scale=1.0, positions=positions)  # (B, h, N, d)
        if self.legacy_reshape:
            seen = y.reshape(-1, self.widths[2], *local.shape[2:])
        else:
            seen = to_map(merge_heads(y), *local.shape[2:])
        return torch.cat([local, self.attn_out(seen.to(x.dtype)).to(local.dtype)], dim=1)

    def attention(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the attention map (B, h, H' W', H' W')."""
        with without_autocast(x):
            q, k, _, positions = self._queries_keys_values(x)
            return affinity(q, k, scale=1.0, positions=positions)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Positions | None]:
        qkv = wide(precisely(self.qkv_conv, x))
        parts = to_tokens(qkv).split(self.widths, dim=2)
        q, k, v = (split_heads(part, self.num_heads) for part in parts)  # (B, h, N, d)
        q = q * q.shape[3] ** -0.5
        if self.size is None:
            return q, k, v, None
        checks.fixed_size("aa_conv", qkv, size=self.size)
        rows, columns = by_offset(self.key_rel_h, self.size[0]), by_offset(self.key_rel_w, self.size[1])
        return q, k, v, position_terms(q, rows.to(q.dtype), columns.to(q.dtype))
