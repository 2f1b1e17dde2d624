"""APNB, Asymmetric Pyramid Non-local Block: keys and values are a few pyramid-pooled samples of the map."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    ConvNormAct,
    Layer,
    adaptive_averaging,
    affinity,
    attend,
    to_map_like,
    to_tokens,
    wide,
    without_autocast,
)
from attnzoo.registry import Paper, register

ANN = Paper(
    title="Asymmetric Non-local Neural Networks for Semantic Segmentation",
    authors="Zhu, Xu, Bai, Huang, Bai",
    venue="ICCV",
    year=2019,
    url="https://arxiv.org/abs/1908.07678",
)


@register(
    "apnb",
    title="Asymmetric Pyramid Non-local Block",
    contract="context",
    paper=ANN,
    source="MendelXu/ANN@f4eabeb",
    source_license="Apache-2.0",
    summary="A non-local block whose keys and values are means over a pyramid of grids, 110 by default, so that its "
    "cost grows linearly with the map. What it gathers is joined with the input by a convolution.",
    summary_zh="键和值取自金字塔网格上的均值（默认共 110 个）的非局部模块，代价随特征图线性增长。"
    "汇聚到的上下文再经一个卷积与输入融合。",
    placement="After a 3x3 convolution to 512 channels on stride-8 features, followed by the classifier.",
    reported="The whole network: Cityscapes test 81.3 mIoU.",
    differences=(
        "The reference has a list of further max-pool scales, but any other than 1 makes it fail; it is left out.",
        "The reference convolves the values before it averages them, ours after, which is the same and costs less.",
        "A popular explanation returns the gathered context alone, without the input and the convolution.",
    ),
    plug_in=True,
)
class APNB(nn.Module):
    """drop(act(norm(conv([proj(softmax(q P(q)^T / sqrt(K)) P(v)), x])))), P the pyramid of means, q by one layer.

    Args:
        in_channels: C, the channels of the input.
        out_channels: the same, or None.
        key_channels: K, of queries and keys, which share their layers; half the channels by default.
        value_channels: V; half the channels by default.
        dropout: probability with which a channel of the output is dropped.
        psp_size: the grids of the pyramid, s x s each; finer than the map, they repeat pixels.
        norm_layer: makes the normalisations.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C K + 2 C V + 2 C^2 weights; N (C K + C V + 2 C^2 + S (K + V)) multiply-adds for N places and S samples.
    Raises: AttnzooError for out_channels that differ from in_channels, an empty psp_size, numbers below 1, a single
        value per channel in training mode, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"stages\.0\.f_key\.0": "key.conv",
        r"stages\.0\.f_key\.1\.0": "key.norm",
        r"stages\.0\.f_value": "value",
        r"stages\.0\.W": "proj",
        r"conv_bn_dropout\.0": "fuse.conv",
        r"conv_bn_dropout\.1\.0": "fuse.norm",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        key_channels: int | None = None,
        value_channels: int | None = None,
        dropout: float = 0.05,
        psp_size: Sequence[int] = (1, 3, 6, 8),
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        checks.positive("apnb", in_channels=in_channels)
        if out_channels is not None:
            checks.equal("apnb", in_channels=in_channels, out_channels=out_channels)
        key_channels = max(in_channels // 2, 1) if key_channels is None else key_channels
        value_channels = max(in_channels // 2, 1) if value_channels is None else value_channels
        checks.positive("apnb", key_channels=key_channels, value_channels=value_channels)
        checks.probability("apnb", dropout=dropout)
        checks.sequence("apnb", psp_size=psp_size)
        checks.positive("apnb", **checks.items(psp_size=psp_size))
        self.in_channels = in_channels
        self.psp_size = tuple(psp_size)
        self.key = ConvNormAct(in_channels, key_channels, bias=True, norm_layer=norm_layer)
        self.value = nn.Conv1d(in_channels, value_channels, 1)
        self.proj = zero_conv(value_channels, in_channels)
        self.fuse = ConvNormAct(2 * in_channels, in_channels, bias=True, norm_layer=norm_layer)
        self.drop = nn.Dropout2d(dropout)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the query's layers, which are the key's, listed twice."""
        return {key: value for key, value in state.items() if not key.startswith("stages.0.f_query.")}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("apnb", x, self.in_channels)
        if self.training:
            checks.several_values("apnb", x)
        q, k = self._queries_keys(x)
        v = self.value(pyramid(x, self.psp_size)).mT[:, None]
        y = to_map_like(attend(q, k, v)[:, 0], x)
        return self.drop(self.fuse(torch.cat([self.proj(y), x], dim=1)))

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map (B, 1, H W, S)."""
        return affinity(*self._queries_keys(x))

    def _queries_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H W, K) and (B, 1, S, K)."""
        q = self.key(x)
        return to_tokens(q)[:, None], pyramid(q, self.psp_size).mT[:, None]


def pyramid(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """The means of x over every cell of grids s x s, grid after grid: (B, C, H, W) -> (B, C, S)."""
    with without_autocast(x):
        whole = wide(x)
        across = whole @ torch.cat([adaptive_averaging(whole, 3, s) for s in sizes]).mT  # (B, C, H, sum of the sizes)
        columns = across.split(list(sizes), dim=3)
        grids = [adaptive_averaging(whole, 2, s) @ part for s, part in zip(sizes, columns, strict=True)]
        return torch.cat([grid.flatten(2) for grid in grids], dim=2).to(x.dtype)


def zero_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 1x1 convolution that starts at zero."""
    conv = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
