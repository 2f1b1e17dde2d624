"""Disentangled non-local: a pairwise term between whitened features, and one context for all places."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import affinity, attend, mean, precisely, to_map_like, to_tokens
from attnzoo.registry import Paper, register


@register(
    "dnl",
    title="Disentangled Non-local block",
    contract="feature",
    paper=Paper(
        title="Disentangled Non-Local Neural Networks",
        authors="Yin, Yao, Cao, Li, Zhang, Lin, Hu",
        venue="ECCV",
        year=2020,
        url="https://arxiv.org/abs/2006.06668",
    ),
    source="yinmh17/DNL-Semantic-Segmentation@594a359",
    source_license="Apache-2.0",
    summary="Splits non-local attention in two: pairs of places are compared after their common mean is taken away, "
    "and what is salient to every place is pooled once by a softmax of its own. Both are added to the input.",
    summary_zh="把非局部注意力拆成两部分：去掉公共均值后再比较位置对；"
    "对所有位置都显著的内容则由单独的 softmax 汇聚一次。两者都加回输入。",
    placement="As non_local; in the segmentation head on 512-channel features of stride 8.",
    reported="No headline figure recorded here.",
    differences=(
        "The fresh block is not the identity: gamma starts at zero, but the unary term does not pass through it.",
        "The reference has further kinds of whitening and of the unary term; the paper's are kept here.",
        "The reference downsamples by default, but its heads turn that off; mmsegmentation has temperature 0.05.",
    ),
    inert=("key_conv.bias", "query_conv.bias", "mask_conv.bias"),
    not_applicable={"large-close-bfloat16": "the rounding of logits of 1e6 decides the softmax"},
)
class DNL(nn.Module):
    """x + norm(proj(gamma sum_j softmax_j((q_i - q') (k_j - k') / (t sqrt(C'))) v_j + sum_j softmax_j(m_j) v_j)).

    q' and k' are the means over the places, m a convolution to one channel.

    Args:
        channels: C, the channels of the input.
        inter_channels: C', of queries and keys; half the channels by default.
        downsample: max-pool keys and values by 2.
        use_out: values have C' channels, and proj takes them to C; without it, they have C.
        out_norm: a BatchNorm on what is added to the input.
        temperature: t.
        with_unary: the term that is the same for all places.
        whiten: take away the means.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up, from 2 with downsample.
    Cost: C^2 + 2 C C' weights, or 4 C C' with use_out; N M (C' + Cv) multiply-adds between N places and M keys.
    Raises: AttnzooError for inter_channels below 1, a temperature that is not above 0, an input that is not
        (B, C, H, W), or one with a side of 1 that is to be pooled.
    """

    reference_keys = {
        "conv_query": "query_conv",
        "conv_key": "key_conv",
        "conv_value": "value_conv",
        "conv_mask": "mask_conv",
        "conv_out": "proj",
        "out_bn": "norm",
    }

    def __init__(
        self,
        channels: int,
        inter_channels: int | None = None,
        downsample: bool = False,
        use_out: bool = False,
        out_norm: bool = False,
        temperature: float = 1.0,
        with_unary: bool = True,
        whiten: bool = True,
    ) -> None:
        super().__init__()
        checks.positive("dnl", channels=channels)
        width = max(channels // 2, 1) if inter_channels is None else inter_channels
        checks.positive("dnl", inter_channels=width)
        checks.above_zero("dnl", temperature=temperature)
        self.channels = channels
        self.downsample = downsample
        self.whiten = whiten
        self.scale = width**-0.5 / temperature
        self.pool = nn.MaxPool2d(2) if downsample else nn.Identity()
        self.query_conv = nn.Conv2d(channels, width, 1)
        self.key_conv = nn.Conv2d(channels, width, 1)
        self.value_conv = nn.Conv2d(channels, width if use_out else channels, 1, bias=use_out)
        self.mask_conv = nn.Conv2d(channels, 1, 1) if with_unary else None
        self.proj = nn.Conv2d(width, channels, 1, bias=False) if use_out else nn.Identity()
        self.norm = nn.BatchNorm2d(channels) if out_norm else nn.Identity()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("dnl", x, self.channels)
        if self.downsample:
            checks.halvable("dnl", x)
        pooled = self.pool(x)
        q, k = self._queries_keys(x, pooled)
        v = to_tokens(self.value_conv(pooled))  # (B, M, Cv)
        y = attend(q, k, v[:, None], scale=self.scale)[:, 0]
        if self.mask_conv is None:
            y = y * self.gamma.to(v.dtype)
        else:
            places = precisely(self.mask_conv, pooled).flatten(2).softmax(dim=2)  # (B, 1, M)
            y = torch.addcmul(places.to(v.dtype) @ v, y, self.gamma.to(v.dtype))
        return x + self.norm(self.proj(to_map_like(y, x))).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map of the pairwise term (B, 1, H W, M)."""
        return affinity(*self._queries_keys(x, self.pool(x)), scale=self.scale)

    def _queries_keys(self, x: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H W, C') and (B, 1, M, C')."""
        q, k = (to_tokens(y) for y in (self.query_conv(x), self.key_conv(pooled)))
        if self.whiten:
            q, k = (tokens - mean(tokens, 1, keepdim=True).to(tokens.dtype) for tokens in (q, k))
        return q[:, None], k[:, None]
