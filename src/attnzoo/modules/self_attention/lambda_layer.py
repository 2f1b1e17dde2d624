"""Lambda layer: the context becomes a linear function, which is then applied to every query."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, laid_out_like, make_divisible, precisely, to_tokens, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "lambda_layer",
    title="Lambda layer",
    contract="feature",
    paper=Paper(
        title="LambdaNetworks: Modeling Long-Range Interactions Without Attention",
        authors="Bello",
        venue="ICLR",
        year=2021,
        url="https://arxiv.org/abs/2102.08602",
    ),
    source="huggingface/pytorch-image-models@aa4b585 (timm 1.0.31)",
    source_license="Apache-2.0",
    summary="Sums up the whole map in one small matrix, and the surroundings of each place in another, made by a "
    "convolution. The query of the place is multiplied by both: attention without an attention map.",
    summary_zh="把整张图概括为一个小矩阵，并用卷积把每个位置的周围概括为另一个。"
    "该位置的查询与二者相乘：没有注意力图的注意力。",
    placement="In place of the 3x3 convolutions of ResNet bottlenecks (LambdaResNet).",
    reported="No headline figure recorded here.",
    differences=(
        "The numbers come from timm; there an output width other than the input's fails, and here it is no argument.",
        "The depth that several lambdas could share is 1, as in timm.",
        "timm computes the positions of a whole map by a table of all pairs; here they are a convolution as well.",
    ),
    not_applicable=SQUARES,
)
class LambdaLayer(nn.Module):
    """q^T (softmax(k) v^T + conv(v)) at every place: keys and values shared by the heads, softmax over the places.

    Args:
        channels: C, the channels of the input; num_heads divides them.
        size: (H, W) of the input, fixed; needed where r is None, unused otherwise.
        stride: 1, or 2 to average the output over 2 x 2 places.
        num_heads: h.
        head_dim: K, width of queries and keys; None takes C / h, C rounded to a multiple of 8 first.
        r: side of the surroundings (odd); None takes the whole map.
        qkv_bias: whether queries, keys and values have a bias.

    Shape: (B, C, H, W) -> (B, C, H // stride, W // stride).
    Cost: C (h K + K + C / h) weights and r^2 K of the surroundings; H W (C (h K + K + C / h) + 2 K C + r^2 K C / h)
        multiply-adds, H W K C / h numbers of memory.
    Raises: AttnzooError for heads that do not divide the channels, an even r, a stride other than 1 and 2, r None
        without size, a single value per channel in training mode, or an input that is not (B, C, H, W) or too small
        for the stride.
    """

    def __init__(
        self,
        channels: int,
        size: Sequence[int] | None = None,
        stride: Literal[1, 2] = 1,
        num_heads: int = 4,
        head_dim: int | None = 16,
        r: int | None = 9,
        qkv_bias: bool = False,
    ) -> None:
        super().__init__()
        checks.positive("lambda_layer", channels=channels, num_heads=num_heads)
        checks.divisible("lambda_layer", "channels", channels, num_heads=num_heads)
        checks.choice("lambda_layer", (1, 2), stride=stride)
        if head_dim is None:
            head_dim = make_divisible(channels) // num_heads
        checks.positive("lambda_layer", head_dim=head_dim)
        width = channels // num_heads
        self.channels = channels
        self.stride = stride
        self.num_heads = num_heads
        self.widths = (num_heads * head_dim, head_dim, width)
        self.qkv = nn.Conv2d(channels, sum(self.widths), 1, bias=qkv_bias)
        self.norm_q = nn.BatchNorm2d(num_heads * head_dim)
        self.norm_v = nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(2, 2) if stride == 2 else nn.Identity()
        self.size: tuple[int, int] | None = None
        nn.init.trunc_normal_(self.qkv.weight, std=channels**-0.5)
        if r is None:
            known = checks.needed("lambda_layer", "size", size, "the positions of a whole map (r=None) need its size")
            height, width = self.size = checks.pair("lambda_layer", "size", known)
            self.pos_emb = nn.Parameter(torch.empty(2 * height - 1, 2 * width - 1, head_dim))
            nn.init.trunc_normal_(self.pos_emb, std=0.02)
        else:
            checks.odd("lambda_layer", r=r)
            self.conv_lambda = nn.Conv2d(1, head_dim, r, padding=r // 2)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("lambda_layer", x, self.channels)
        checks.at_least_size("lambda_layer", x, self.stride)
        if self.size is not None:
            checks.fixed_size("lambda_layer", x, size=self.size)
        if self.training:
            checks.several_values("lambda_layer", x)
        with without_autocast(x):
            q, k, v = self._queries_keys_values(x)
            content = to_tokens(v).mT @ k.mT  # (B, V, K)
            around = wide(self._around(v))  # (B, V, K, N)
            y = content[:, None] @ q + torch.einsum("bhkn,bvkn->bhvn", q, around)  # (B, h, V, N)
        return laid_out_like(self.pool(y.flatten(1, 2).unflatten(2, x.shape[2:]).to(x.dtype)), x)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the map that queries and keys stand for, positions aside (B, h, H W, H W)."""
        with without_autocast(x):
            q, k, _ = self._queries_keys_values(x)
            return q.mT @ k[:, None]

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, h, K, N), (B, K, N) with rows that sum to 1, and (B, V, H, W)."""
        q, k, v = wide(precisely(self.qkv, x)).split(self.widths, dim=1)
        q = to_tokens(wide(precisely(self.norm_q, q))).mT.unflatten(1, (self.num_heads, -1))
        return q, k.flatten(2).softmax(dim=2), wide(precisely(self.norm_v, v))

    def _around(self, v: Tensor) -> Tensor:
        """What the places around each place make of every channel: (B, V, H, W) -> (B, V, K, H W)."""
        maps = v.flatten(0, 1)[:, None]  # (B V, 1, H, W)
        if self.size is None:
            around = precisely(self.conv_lambda, maps)
        else:
            kernel = self.pos_emb.to(v.dtype).permute(2, 0, 1)[:, None]  # (K, 1, 2 H - 1, 2 W - 1)
            around = F.conv2d(maps, kernel, padding=(self.size[0] - 1, self.size[1] - 1))
        return around.flatten(2).unflatten(0, (-1, v.shape[1]))
