"""FPT self-transformer: attention within one level, by a mixture of several softmaxes."""

import math

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    ConvNormAct,
    affinity,
    attend,
    mean,
    merge_heads,
    split_heads,
    to_map_like,
    to_tokens,
)
from attnzoo.registry import Paper, register

FPT = Paper(
    title="Feature Pyramid Transformer",
    authors="Zhang, Zhang, Tang, Wang, Hua, Sun",
    venue="ECCV",
    year=2020,
    url="https://arxiv.org/abs/2007.09451",
)
TRANSFORMS = ("conv", "ffn", "dffn")


@register(
    "fpt_self",
    title="FPT self-transformer",
    contract="fusion",
    plug_in=True,
    paper=FPT,
    source="ZHANGDONG-NJUST/FPT@c7c76f9",
    source_license="none found",
    summary="Non-local attention within one level of a pyramid, whose map is a mixture of several softmaxes over parts "
    "of the features. The weights of the mixture are read from the mean query of each head.",
    summary_zh="在金字塔的单个层级内做非局部注意力，其注意力图是特征各部分上多个 softmax 的混合。"
    "混合权重由每个头的平均查询给出。",
    placement="On every level of fpt, with one head and two mixtures.",
    reported="Part of FPT; no headline figure recorded here.",
    differences=(
        "The original ignores its argument dropout, 0.1 being fixed inside, and views a pooled map as H W / 4 places, "
        "which only fits even sides; ours has the true ones.",
        "Queries and keys share one transform, which the authors' checkpoints hold twice.",
        "A popular collection holds the grounding transformer under this name.",
    ),
    not_applicable={"large-close-bfloat16": "the rounding of logits of 1e6 decides the softmax"},
)
class FPTSelf(nn.Module):
    """norm(proj(sum_g p_g softmax(q_g k_g^T / sqrt(dk)) v)) + x, q_g and k_g the g-th parts of queries and keys.

    q = T(x), k = T(pool(x)), v a 1x1 convolution of pool(x), and p the softmax of a linear map of the mean query.

    Args:
        channels: C, the channels of the input.
        num_heads: n.
        num_mixtures: m, the number of parts; 1 is plain attention.
        key_channels: dk, width of queries and keys per head; C by default.
        value_channels: dv, width of values per head; C by default.
        query_transform: T: 'conv' a 1x1 convolution, 'ffn' a 3x3 one with norm and ReLU before it, 'dffn' the same
            with a dilation of 4.
        pooling: take keys and values from the map averaged 3x3 at stride 2.
        concat: concatenate x instead of adding it.
        dropout: of the softmaxes, in training.

    Shape: (B, C, H, W) -> (B, C, H, W), or (B, 2 C, H, W) with concat; for any H and W from 1 up.
    Cost: n C (dk + 2 dv) weights and those of T; n N M (dk + m dv) multiply-adds, N = H W places and M about N / 4.
    Raises: AttnzooError for numbers below 1, key_channels that num_mixtures does not divide, an unknown
        query_transform, a dropout that is no probability, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"attention\.weight": "mixture",
        r"conv_qs\.0": "transform.0.conv",
        r"conv_qs\.1": "transform.0.norm",
        r"conv_qs\.3": "transform.1",
        "conv_qs": "transform",
        "conv_vs": "value",
        "conv": "proj.conv",
        "norm_layer": "proj.norm",
    }

    def __init__(
        self,
        channels: int,
        num_heads: int = 1,
        num_mixtures: int = 2,
        key_channels: int | None = None,
        value_channels: int | None = None,
        query_transform: str = "conv",
        pooling: bool = True,
        concat: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        checks.positive("fpt_self", channels=channels, num_heads=num_heads, num_mixtures=num_mixtures)
        dk = channels if key_channels is None else key_channels
        dv = channels if value_channels is None else value_channels
        checks.positive("fpt_self", key_channels=dk, value_channels=dv)
        checks.divisible("fpt_self", "key_channels", dk, num_mixtures=num_mixtures)
        checks.choice("fpt_self", TRANSFORMS, query_transform=query_transform)
        checks.probability("fpt_self", dropout=dropout)
        self.channels = channels
        self.num_heads = num_heads
        self.num_mixtures = num_mixtures
        self.scale = dk**-0.5
        self.concat = concat
        self.dropout = dropout
        self.pool = nn.AvgPool2d(3, 2, padding=1, count_include_pad=False) if pooling else nn.Identity()
        self.transform: nn.Module
        if query_transform == "conv":
            self.transform = nn.Conv2d(channels, num_heads * dk, 1)
            nn.init.normal_(self.transform.weight, std=math.sqrt(2 / (channels + dk)))
        else:
            wider = ConvNormAct(channels, num_heads * dk, 3, dilation=4 if query_transform == "dffn" else 1)
            last = nn.Conv2d(num_heads * dk, num_heads * dk, 1)
            nn.init.normal_(last.weight, std=dk**-0.5)
            self.transform = nn.Sequential(wider, last)
        self.value = nn.Conv2d(channels, num_heads * dv, 1)
        nn.init.normal_(self.value.weight, std=math.sqrt(2 / (channels + dv)))
        self.mixture = nn.Parameter(torch.empty(num_mixtures, dk)) if num_mixtures > 1 else None
        if self.mixture is not None:
            nn.init.uniform_(self.mixture, -(num_mixtures**-0.5), num_mixtures**-0.5)
        self.proj = ConvNormAct(num_heads * dv, channels, act_layer=None)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the second copy of the transform."""
        return {key: value for key, value in state.items() if not key.startswith("conv_ks.")}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("fpt_self", x, self.channels)
        pooled = self.pool(x)
        q, k, shares = self._queries_keys(x, pooled)
        v = split_heads(to_tokens(self.value(pooled)), self.num_heads)[:, :, None]  # (B, n, 1, M, dv)
        v = (v * shares.to(v.dtype)).flatten(1, 2)
        y = attend(q, k, v, dropout=self.dropout if self.training else 0.0, scale=self.scale)
        mixed = y.unflatten(1, (self.num_heads, self.num_mixtures)).sum(dim=2)
        y = self.proj(to_map_like(merge_heads(mixed), x)).to(x.dtype)
        return torch.cat([y, x], dim=1) if self.concat else y + x

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map (B, n, H W, M)."""
        q, k, shares = self._queries_keys(x, self.pool(x))
        maps = affinity(q, k, scale=self.scale).unflatten(1, (self.num_heads, self.num_mixtures))
        return (maps * shares.to(maps.dtype)).sum(dim=2)

    def _queries_keys(self, x: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, n m, N, dk / m), keys (B, n m, M, dk / m) and the shares (B, n, m, 1, 1) of the softmaxes."""
        parts = self.num_heads * self.num_mixtures
        q = to_tokens(self.transform(x))
        k = q if pooled is x else to_tokens(self.transform(pooled))
        return split_heads(q, parts), split_heads(k, parts), self._shares(q)[..., None, None]

    def _shares(self, q: Tensor) -> Tensor:
        """(B, N, n dk) -> (B, n, m)."""
        means = mean(q, 1).unflatten(1, (self.num_heads, -1))  # (B, n, dk)
        if self.mixture is None:
            return torch.ones_like(means[..., :1])
        return (means[:, :, None] * self.mixture).sum(dim=3).softmax(dim=2)
