"""Spatial Transformer with thin-plate splines: the map is bent so that given points come to lie on a lattice."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import wide, without_autocast
from attnzoo.modules.spatial.stn import JADERBERG, lattice, sample, sampling_weights
from attnzoo.registry import register


@register(
    "stn_tps",
    title="Spatial Transformer with thin-plate splines",
    contract="feature",
    plug_in=False,
    paper=JADERBERG,
    source="WarBean/tps_stn_pytorch@272a813",
    source_license="none found",
    summary="Takes source points for a fixed lattice of target points, and samples the map through the smoothest "
    "deformation that brings one onto the other. It straightens what is curved, above all text in scenes.",
    summary_zh="给定一组源点与固定的目标点阵，用使前者落到后者上的最平滑形变（薄板样条）对特征图重采样。"
    "它能把弯曲的内容拉直，常用于场景文字矫正。",
    placement="Before a recogniser or classifier.",
    reported="None for the module alone.",
    differences=(
        "The repository's bounded localisation head is tanh of a network whose last layer starts with weight 0 and "
        "bias arctanh of the target points; the unbounded one has the points themselves as bias. Build either and "
        "pass it as localization: both start at the identity.",
        "The code was written when sampling always aligned the corners, and needs it today.",
        "Some ports use twice the kernel, r^2 ln(r^2): after the inversion the deformation is the same.",
        "The repository returns the grid from one class and samples in another; here forward gives both.",
    ),
    inputs=("B C H W", "B 16 2"),
    not_applicable={
        "channels-last": "the second output is a grid of coordinates, no map with channels",
        "ddp": "no parameters, so nothing to synchronise",
    },
)
class STNTPS(nn.Module):
    """Sample x at R K^-1 [source points; 0]: R the spline's terms at the output's places, K those at the targets.

    Args:
        channels: not needed; checked if given.
        output_size: height and width of the output, at least 2 each; None takes the input's.
        grid_size: rows and columns of the lattice of target points, at least 2 each.
        span_range: how far the lattice reaches from the centre, in rows and in columns, between 0 and 1.
        localization: a module from (B, C, H, W) to the source points; None takes them as the second input.

    Shape: (B, C, H, W), and source points (B, rows * columns, 2) as (x, y) in [-1, 1], if there is no
        localization -> the sampled map (B, C, H', W') and the grid (B, H', W', 2).
    Cost: 2 (n + 3) H' W' multiply-adds for n points, and 4 C H' W' for the sampling; no parameters.
    Raises: AttnzooError for sides below 2, a span outside (0, 1), points that are not (B, n, 2), or an input that
        is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int | None = None,
        output_size: Sequence[int] | None = None,
        grid_size: Sequence[int] = (4, 4),
        span_range: Sequence[float] = (0.9, 0.9),
        localization: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if channels is not None:
            checks.positive("stn_tps", channels=channels)
        if output_size is not None:
            checks.sequence("stn_tps", length=2, output_size=output_size)
            checks.at_least("stn_tps", 2, **checks.items(output_size=output_size))
        checks.sequence("stn_tps", length=2, grid_size=grid_size, span_range=span_range)
        checks.at_least("stn_tps", 2, **checks.items(grid_size=grid_size))
        checks.above_zero("stn_tps", **checks.items(span_range=span_range))
        checks.probability("stn_tps", **checks.items(span_range=span_range))
        self.channels, self.output_size = channels, None if output_size is None else tuple(output_size)
        self.localization = localization
        self.rows, self.columns = grid_size
        self.row_span, self.column_span = span_range
        self.inverse = _inverse(self.targets())

    def targets(self) -> list[tuple[float, float]]:
        """The lattice, row by row, as (x, y)."""
        ys, xs = (
            [span * (2 * i / (n - 1) - 1) for i in range(n)]
            for n, span in ((self.rows, self.row_span), (self.columns, self.column_span))
        )
        return [(x, y) for y in ys for x in xs]

    def forward(self, x: Tensor, source_points: Tensor | None = None) -> tuple[Tensor, Tensor]:
        checks.nchw("stn_tps", x, self.channels, name="x")
        grid = self._grid(x, source_points)
        return sample(x, grid, align_corners=True), grid

    def attention(self, x: Tensor, source_points: Tensor | None = None) -> Tensor:
        """The inputs of forward -> how much each output pixel reads of each input pixel, (B, 1, H' W', H W)."""
        return sampling_weights(x, self._grid(x, source_points), align_corners=True)

    def _grid(self, x: Tensor, points: Tensor | None) -> Tensor:
        """Where each output pixel is read: (B, H', W', 2), the last axis (x, y)."""
        if self.localization is not None:
            points = self.localization(x).view(x.shape[0], -1, 2)
        points = wide(checks.shaped("stn_tps", "source_points", points, (x.shape[0], self.rows * self.columns, 2)))
        height, width = self.output_size or x.shape[2:]
        places = lattice(height, width, points, align_corners=True)
        terms = _terms(places, points.new_tensor(self.targets()))  # (H', W', n + 3)
        with without_autocast(x):
            weights = points.new_tensor(self.inverse) @ points  # (B, n + 3, 2)
            return (terms.flatten(0, 1) @ weights).unflatten(1, (height, width))


def _terms(places: Tensor, targets: Tensor) -> Tensor:
    """(..., 2) -> (..., n + 3): r^2 ln r with r the distance to each target, then 1, x, y."""
    squared = (places[..., None, :] - targets).square().sum(dim=-1)
    return torch.cat([torch.xlogy(squared, squared) / 2, torch.ones_like(places[..., :1]), places], dim=-1)


def _inverse(targets: Sequence[tuple[float, float]]) -> list[list[float]]:
    """K^-1 without its last three columns, which meet zeros: (n + 3, n), as numbers, solved in float64."""
    with torch.device("cpu"):  # numbers are needed even where the module is built on the meta device
        points = torch.tensor(targets, dtype=torch.float64)
        corner = torch.zeros(3, 3, dtype=torch.float64)
        terms = _terms(points, points)
        system = torch.cat([terms, torch.cat([terms[:, -3:].T, corner], dim=1)])
        return [list(row) for row in torch.linalg.inv(system)[:, : len(points)].tolist()]
