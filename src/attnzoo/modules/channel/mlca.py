"""MLCA, Mixed Local Channel Attention: ECA over the whole map and over the cells of a coarse grid, blended."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import adaptive_avg_pool, precisely, to_map, to_tokens
from attnzoo.modules.channel.eca import ECA
from attnzoo.registry import Paper, register


@register(
    "mlca",
    title="Mixed Local Channel Attention",
    contract="feature",
    paper=Paper(
        title="Mixed local channel attention for object detection",
        authors="Wan, Lu, Shen, Xu, Lang, Ren",
        venue="EAAI",
        year=2023,
        url="https://doi.org/10.1016/j.engappai.2023.106442",
    ),
    source="wandahangFY/MLCA@afbeb47",
    source_license="AGPL-3.0",
    summary="Averages the map on a coarse grid and applies ECA twice: once to the means of the whole map, once to the "
    "means of each cell. The two gates are blended and spread over the map again.",
    summary_zh="把特征图平均到一个粗网格上，分别对整图均值和每个格子的均值各做一次 ECA。两种门按比例混合后再铺回原图。",
    placement="In the necks of detectors, and in MobileNet blocks.",
    reported="1.0 mAP more than SE on Pascal VOC, 1.5 more than coordinate attention on SIMD.",
    differences=(
        "An earlier version of the authors' file permuted the axes of the global gate; the corrected one counts here.",
        "The local filter runs over the cells one after the other, and so across their borders.",
        "The global means are means of cells, which differ from those of the map where cells overlap.",
    ),
)
class MLCA(nn.Module):
    """Scale x by a blend of gates: v local + (1 - v) global, on an L x L grid, resized by adaptive pooling.

    Args:
        channels: C, the channels of the input.
        local_size: L, the cells of the grid along each side.
        gamma, b: the constants of ECA's rule for the length of both filters.
        local_weight: v, the share of the local gates.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 k weights, k the filters' length; 2 k C L^2 multiply-adds and three passes over the map.
    Raises: AttnzooError for local_size below 1, gamma 0, local_weight outside [0, 1], or an input that is not
        (B, C, H, W).
    """

    reference_keys = {"conv": "whole.conv", "conv_local": "local_conv"}

    def __init__(
        self,
        channels: int,
        local_size: int = 5,
        gamma: float = 2,
        b: float = 1,
        local_weight: float = 0.5,
    ) -> None:
        super().__init__()
        checks.positive("mlca", channels=channels, local_size=local_size)
        checks.above_zero("mlca", gamma=gamma)
        checks.share("mlca", local_weight=local_weight)
        self.channels = channels
        self.local_size = local_size
        self.local_weight = local_weight
        self.whole = ECA(channels, gamma=gamma, b=b)
        size = self.whole.conv.kernel_size[0]
        self.local_conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mlca", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        side = self.local_size
        cells = adaptive_avg_pool(x, side, side)  # (B, C, L, L)
        run = to_tokens(cells).flatten(1)  # (B, L * L * C), cell by cell
        scores = precisely(self.local_conv, run[:, None])[:, 0].unflatten(1, (-1, self.channels))
        local = to_map(scores, side, side).sigmoid()
        mixed = self.local_weight * local + (1 - self.local_weight) * self.whole.gate(cells)
        return adaptive_avg_pool(mixed, *x.shape[2:]).to(x.dtype)
