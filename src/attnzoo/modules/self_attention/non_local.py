"""The non-local block: every place takes in all others, by one of four pairwise functions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import attend, laid_out_like, to_tokens, wide, without_autocast
from attnzoo.registry import Paper, register

MODES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


@register(
    "non_local",
    title="Non-local block",
    contract="feature",
    paper=Paper(
        title="Non-local Neural Networks",
        authors="Wang, Girshick, Gupta, He",
        venue="CVPR",
        year=2018,
        url="https://arxiv.org/abs/1711.07971",
    ),
    source="AlexHex7/Non-local_pytorch@ec15789",
    source_license="Apache-2.0",
    summary="Adds to every place a weighted sum of the features of all places, weighed by a pairwise function of the "
    "two features, of which there are four. None of them needs the matrix of all pairs in memory.",
    summary_zh="把所有位置特征的加权和加到每个位置，权重是两处特征的成对函数，共有四种可选。"
    "四种形式都不必在内存中存下所有位置对的矩阵。",
    placement="After a residual stage: one block before the last block of res4, or 5 to 10 spread over res3 and res4.",
    reported="No headline figure recorded here.",
    differences=(
        "mmcv and Detectron divide the embedded-gaussian logits by sqrt(C') (use_scale), do not subsample and have "
        "no BatchNorm by default; the reference does not scale.",
        "A popular explanation shows the form of SAGAN under this name: narrower queries and keys, no pooling, and a "
        "gamma that is no registered parameter, so it is never trained.",
        "The reference class takes videos by default (dimension=3); ours takes maps.",
    ),
    inert=("key.bias",),
    not_applicable={"large-close-bfloat16": "the rounding of logits of 1e6 decides the softmax"},
    min_size=2,
    settled=("dimension",),
)
class NonLocal(nn.Module):
    """x + norm(proj(y)), y_i = sum_j f(q_i, k_j) v_j over the M places of the keys.

    f is softmax_j(q_i k_j) ('embedded_gaussian', and 'gaussian', where q = k = x), q_i k_j / M ('dot_product') or
    relu(w [q_i, k_j]) / M ('concatenation').

    Args:
        channels: C, the channels of the input.
        inter_channels: C', of queries, keys and values; half the channels by default.
        mode: the pairwise function.
        dimension: 1, 2 or 3: sequences (B, C, L), maps (B, C, H, W) or videos (B, C, T, H, W).
        sub_sample: max-pool keys and values by 2 in space.
        bn_layer: a BatchNorm after the projection. It starts at zero, or the projection does: the fresh block
            returns its input.
        use_scale: divide the logits of 'embedded_gaussian' by sqrt(C').

    Shape: (B, C, H, W) -> (B, C, H, W), H and W from 1 up, from 2 with sub_sample; or as dimension says.
    Cost: 4 C C' + 6 C or so parameters; N (4 C C') + 2 N M C' multiply-adds for N places; 'dot_product'
        N (4 C C' + C'^2) + M C'^2, 'concatenation' N (4 C C' + C' log N).
    Raises: AttnzooError for an unknown mode or dimension, use_scale in another mode, an input of other channels
        or rank, or with a side of 1 that is to be pooled.
    """

    reference_keys = {
        "theta": "query",
        r"phi(\.0)?": "key",
        r"g(\.0)?": "value",
        r"W\.1": "norm",
        r"W(\.0)?": "proj",
        r"concat_project\.0": "pair",
    }

    def __init__(
        self,
        channels: int,
        inter_channels: int | None = None,
        mode: str = "embedded_gaussian",
        dimension: int = 2,
        sub_sample: bool = True,
        bn_layer: bool = True,
        use_scale: bool = False,
    ) -> None:
        super().__init__()
        checks.positive("non_local", channels=channels)
        width = max(channels // 2, 1) if inter_channels is None else inter_channels
        checks.positive("non_local", inter_channels=width)
        checks.choice("non_local", MODES, mode=mode)
        checks.between("non_local", 1, 3, dimension=dimension)
        checks.only_with(
            "non_local", not use_scale or mode == "embedded_gaussian", "use_scale=True", "mode='embedded_gaussian'"
        )
        conv = CONVS[dimension - 1]
        self.channels = channels
        self.mode = mode
        self.dimension = dimension
        self.sub_sample = sub_sample
        self.scale = width**-0.5 if use_scale else 1.0
        self.query = nn.Identity() if mode == "gaussian" else conv(channels, width, 1)
        self.key = nn.Identity() if mode == "gaussian" else conv(channels, width, 1)
        self.value = conv(channels, width, 1)
        self.pair = nn.Conv2d(2 * width, 1, 1, bias=False) if mode == "concatenation" else None
        halving = (1, 2, 2) if dimension == 3 else 2  # never in time
        self.pool = POOLS[dimension - 1](halving) if sub_sample else nn.Identity()
        self.proj = conv(width, channels, 1)
        self.norm = NORMS[dimension - 1](channels) if bn_layer else nn.Identity()
        last = self.norm if bn_layer else self.proj
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        q, k = self._queries_keys(x)
        v = to_tokens(self.pool(self.value(x)))
        if self.mode == "dot_product":
            with without_autocast(x):
                y = wide(q) @ (wide(k).mT @ wide(v) / k.shape[1])
        elif self.mode == "concatenation":
            with without_autocast(x):
                y = sum_rectified(*self._scores(q, k), wide(v)) / k.shape[1]
        else:
            y = attend(q[:, None], k[:, None], v[:, None], scale=self.scale)[:, 0]
        y = laid_out_like(y.to(v.dtype).mT.unflatten(2, x.shape[2:]), x)
        return x + self.norm(self.proj(y)).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the weights (B, 1, N, M), which sum to 1 only where they come from a softmax."""
        q, k = self._queries_keys(x)
        if self.mode == "concatenation":
            a, b = self._scores(q, k)
            return (a[:, None, :, None] + b[:, None, None, :]).relu() / k.shape[1]
        logits = (q @ k.mT)[:, None]
        return logits / k.shape[1] if self.mode == "dot_product" else (self.scale * logits).softmax(dim=-1)

    def _check(self, x: Tensor) -> None:
        checks.features("non_local", x, self.channels, self.dimension)
        if self.sub_sample:
            checks.halvable("non_local", x, min(self.dimension, 2))

    def _queries_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, C') and (B, M, C')."""
        return to_tokens(self.query(x)), to_tokens(self.pool(self.key(x)))

    def _scores(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """What a query (B, N) and a key (B, M) add to the logit of their pair."""
        of_query, of_key = self.pair.weight.flatten().chunk(2)  # type: ignore[union-attr]
        return wide(q) @ of_query.to(wide(q).dtype), wide(k) @ of_key.to(wide(k).dtype)


def sum_rectified(a: Tensor, b: Tensor, v: Tensor) -> Tensor:
    """sum_j relu(a_i + b_j) v_j without the N M pairs: (B, N), (B, M), (B, M, d) -> (B, N, d).

    In descending order of b, those with a_i + b_j > 0 come first: one prefix sum of v and of b v answers every i.
    """
    b, order = b.sort(dim=1, descending=True)
    v = v.gather(1, order[:, :, None].expand_as(v))
    sums = F.pad(torch.cat([v, b[:, :, None] * v], dim=2).cumsum(dim=1), (0, 0, 1, 0))  # (B, M + 1, 2 d)
    count = torch.searchsorted(-b.detach(), a.detach())  # (B, N): how many b_j > -a_i
    sum_v, sum_bv = sums.gather(1, count[:, :, None].expand(-1, -1, sums.shape[2])).chunk(2, dim=2)
    return torch.addcmul(sum_bv, a[:, :, None], sum_v)
