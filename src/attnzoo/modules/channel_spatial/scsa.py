"""SCSA, Spatial and Channel Synergistic Attention: gates per row and column, then channels attend to channels."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.registry import Paper, register

_POOLS: dict[str, Callable[[Tensor, int], Tensor]] = {"avg_pool": F.avg_pool2d, "max_pool": F.max_pool2d}


@register(
    "scsa",
    title="Spatial and Channel Synergistic Attention",
    contract="feature",
    paper=Paper(
        title="SCSA: Exploring the Synergistic Effects Between Spatial and Channel Attention",
        authors="Si, Xu, Zhu, Zhang, Dong, Chen, Li",
        venue="Neurocomputing",
        year=2024,
        url="https://arxiv.org/abs/2407.05128",
    ),
    source="HZAI-ZJNU/SCSA@8c46866",
    source_license="Apache-2.0",
    summary="Filters the row means and the column means, each quarter of the channels with a reach of its own, into "
    "a gate per row and per column. On the pooled result the channels attend to each other and gate themselves.",
    summary_zh="对行均值与列均值做滤波，四组通道各用不同长度的卷积，得到逐行与逐列的门。"
    "随后各通道在池化后的结果上相互关注，得出通道门。",
    placement="After the last BatchNorm of residual blocks; with 8 heads in the authors' ResNets.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' 'recombination' down-sampling lacks its method and crashes, and their gate may be a softmax; "
        "neither is offered here.",
        "A map smaller than the pooling window crashes in the original; here it is refused.",
    ),
    example={"num_heads": 8, "window_size": 3},
    min_size=3,
)
class SCSA(nn.Module):
    """Scale x by row and column gates, then channel c by sigmoid(mean(softmax(q k^T / sqrt(d)) v))[c].

    Args:
        channels: C, the channels of the input; 4 and num_heads divide it.
        num_heads: h; the d = C // h channels of a head attend to each other.
        window_size: the window and stride of the pooling before the channel gate; -1 pools the whole map.
        group_kernel_sizes: lengths of the four filters along the strips, odd.
        qkv_bias: whether queries, keys and values have a bias.
        down_sample_mode: the pooling, 'avg_pool' or 'max_pool'.
        attn_drop: dropout of the channels' attention map.

    Shape: (B, C, H, W) -> (B, C, H, W), for H and W from window_size up.
    Cost: C (sum of group_kernel_sizes) / 4 + 10 C parameters; linear in the map.
    Raises: AttnzooError for channels that 4 or num_heads does not divide, other than four odd kernels, a map
        smaller than the window, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        "local_dwc": "strips.filters.0",
        "global_dwc_s": "strips.filters.1",
        "global_dwc_m": "strips.filters.2",
        "global_dwc_l": "strips.filters.3",
        "norm_h": "strips.norm_h",
        "norm_w": "strips.norm_w",
    }

    def __init__(
        self,
        channels: int,
        num_heads: int,
        window_size: int = 7,
        group_kernel_sizes: Sequence[int] = (3, 5, 7, 9),
        qkv_bias: bool = False,
        down_sample_mode: str = "avg_pool",
        attn_drop: float = 0.0,
    ) -> None:
        super().__init__()
        checks.positive("scsa", channels=channels, num_heads=num_heads)
        checks.divisible("scsa", "channels", channels, quarters=4, num_heads=num_heads)
        if window_size != -1:
            checks.positive("scsa", window_size=window_size)
        checks.sequence("scsa", length=4, group_kernel_sizes=group_kernel_sizes)
        checks.odd("scsa", **checks.items(group_kernel_sizes=group_kernel_sizes))
        checks.choice("scsa", _POOLS, down_sample_mode=down_sample_mode)
        checks.probability("scsa", attn_drop=attn_drop)
        self.channels = channels
        self.num_heads = num_heads
        self.window_size = window_size
        self.down_sample_mode = down_sample_mode
        self.strips = StripGate(channels, group_kernel_sizes)
        self.norm = nn.GroupNorm(1, channels)
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1, groups=channels, bias=qkv_bias) for _ in range(3))
        self.attn_drop = nn.Dropout(attn_drop)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("scsa", x, self.channels)
        checks.at_least_size("scsa", x, self.window_size)
        x = self.strips(x)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W), its places gated already -> (B, C, 1, 1)."""
        if self.window_size == -1:
            pooled = x.mean(dim=(2, 3), keepdim=True)
        else:
            pooled = _POOLS[self.down_sample_mode](x, self.window_size)
        y = self.norm(pooled)
        q, k, v = (conv(y).flatten(2).unflatten(1, (self.num_heads, -1)) for conv in (self.q, self.k, self.v))
        attention = (q @ k.transpose(-2, -1) * q.shape[2] ** -0.5).softmax(dim=-1)  # (B, h, d, d)
        mixed = self.attn_drop(attention) @ v.mean(dim=-1, keepdim=True)  # (B, h, d, 1): the mean of all mixed places
        return mixed.flatten(1).sigmoid()[:, :, None, None]


class StripGate(nn.Module):
    """Scale x[c, i, j] by a gate on row i and a gate on column j. (B, C, H, W) -> the same."""

    def __init__(self, channels: int, kernel_sizes: Sequence[int]) -> None:
        super().__init__()
        width = channels // 4
        self.filters = nn.ModuleList(nn.Conv1d(width, width, k, padding=k // 2, groups=width) for k in kernel_sizes)
        self.norm_h = nn.GroupNorm(4, channels)
        self.norm_w = nn.GroupNorm(4, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), the product of a column of row gates and a row of column gates."""
        rows = self._encode(x.mean(dim=3), self.norm_h)
        columns = self._encode(x.mean(dim=2), self.norm_w)
        return rows[..., None] * columns[:, :, None]

    def _encode(self, strip: Tensor, norm: nn.GroupNorm) -> Tensor:
        """(B, C, L) -> (B, C, L): the quarters of the channels, each with its own filter."""
        parts = [conv(part) for conv, part in zip(self.filters, strip.chunk(4, dim=1), strict=True)]
        # torch's function, as F.group_norm refuses groups of a single value: C = 4 on one row
        return torch.group_norm(torch.cat(parts, dim=1), 4, norm.weight, norm.bias, norm.eps).sigmoid()
