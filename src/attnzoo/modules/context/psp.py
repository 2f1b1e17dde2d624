"""Pyramid pooling (PSPNet): means over several grids, laid beside the map."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, adaptive_averaging, laid_out_like, resize, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "psp",
    title="Pyramid Pooling Module (PSPNet)",
    contract="feature",
    plug_in=False,
    paper=Paper(
        title="Pyramid Scene Parsing Network",
        authors="Zhao, Shi, Qi, Wang, Jia",
        venue="CVPR",
        year=2017,
        url="https://arxiv.org/abs/1612.01105",
    ),
    source="hszhao/semseg@4f274c3",
    source_license="MIT",
    summary="Averages the map over several coarse grids, projects each, and resizes it back to the map. The results "
    "are concatenated to the input, which so knows its surroundings at every scale.",
    summary_zh="在若干粗网格上对特征图取平均，分别投影后再放大回原尺寸。"
    "结果与输入拼接，使每个位置都了解各尺度的周围环境。",
    placement="After the backbone; in the authors' head a 3x3 convolution, BatchNorm, ReLU, dropout 0.1 and a 1x1 "
    "classifier follow.",
    reported="No headline figure recorded here.",
    differences=(
        "The branches are resized with aligned corners; many re-implementations do without.",
        "A popular collection has neither BatchNorm nor ReLU in the branches, puts them before the input, and ends in "
        "a 1x1 bottleneck, which here belongs to the network's head.",
        "A popular explanation pools by the maximum.",
    ),
)
class PSP(nn.Module):
    """Concatenate x and, for every bin size s, resize(relu(norm(W_s pool(x, s x s)))).

    Args:
        channels: C, the channels of the input.
        bins: the sides s of the grids; those larger than the map repeat its pixels.
        bin_channels: channels of every branch; None takes channels // len(bins).

    Shape: (B, C, H, W) -> (B, C + len(bins) * bin_channels, H, W), for any H and W from 1 up.
    Cost: len(bins) * bin_channels (C + 2) parameters; the map is read once for all grids.
    Raises: AttnzooError for no bins or bins below 1, a branch without channels, a training batch of one where a grid
        has one cell, or an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int, bins: Sequence[int] = (1, 2, 3, 6), bin_channels: int | None = None) -> None:
        super().__init__()
        checks.positive("psp", channels=channels)
        checks.sequence("psp", bins=bins)
        checks.positive("psp", **checks.items(bins=bins))
        if bin_channels is None:
            bin_channels = checks.reduced("psp", channels, len(bins))
        checks.positive("psp", bin_channels=bin_channels)
        self.channels = channels
        self.bins = tuple(bins)
        self.branches = nn.ModuleList(ConvNormAct(channels, bin_channels) for _ in bins)

    reference_keys = {r"features\.(\d+)\.1": r"branches.\1.conv", r"features\.(\d+)\.2": r"branches.\1.norm"}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("psp", x, self.channels)
        if self.training and 1 in self.bins:
            checks.batch_statistics("psp", x)
        grids = self._pool(wide(x))
        branches = [branch(grid.to(x.dtype)) for branch, grid in zip(self.branches, grids, strict=True)]
        resized = [resize(y, *x.shape[2:], align_corners=True).to(x.dtype) for y in branches]
        return laid_out_like(torch.cat([x, *resized], dim=1), x)

    def _pool(self, x: Tensor) -> list[Tensor]:
        """The means (B, C, s, s) over every grid."""
        with without_autocast(x):
            across = torch.cat([adaptive_averaging(x, 3, s) for s in self.bins])  # (sum of s, W)
            columns = (x @ across.mT).split(self.bins, dim=3)
            return [adaptive_averaging(x, 2, s) @ part for s, part in zip(self.bins, columns, strict=True)]
