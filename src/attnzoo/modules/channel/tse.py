"""TSE, Tiled Squeeze-and-Excite: SE within each tile of the map."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, averaging, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "tse",
    title="Tiled Squeeze-and-Excite",
    contract="feature",
    paper=Paper(
        title="Tiled Squeeze-and-Excite: Channel Attention With Local Spatial Context",
        authors="Vosco, Shenkler, Grobman",
        venue="ICCV Workshops",
        year=2021,
        url="https://arxiv.org/abs/2107.02145",
    ),
    source="paper",
    source_license="not applicable",
    summary="Cuts the map into tiles and gates each one like SE, from the means of its own pixels. A streaming chip "
    "then buffers a few rows instead of the whole map, and the weights of a trained SE can be used as they are.",
    summary_zh="把特征图切成小块，每块像 SE 那样只根据自身像素的均值得到门。"
    "流式硬件只需缓存几行，且可直接使用已训练好的 SE 的权重。",
    placement="Wherever SE stands, in EfficientNet, RegNetY, SE-ResNet or EfficientDet; tiles of 7x7, or one row of "
    "tiles.",
    reported="No headline figures recorded.",
    differences=(
        "No official repository was found; this is the listing printed in the paper.",
        "An unofficial port puts a BatchNorm after the first layer.",
        "Gates are repeated over their tiles; a resize to the map's size would move the borders of cut-off tiles.",
        "With a tile as large as the map this is se with bias=True, whose weights load unchanged.",
    ),
    example={"tile_size": (3, 4)},
)
class TiledSE(nn.Module):
    """Scale channel c of a tile by sigmoid(fc2(relu(fc1(z))))[c], z the means of that tile.

    Args:
        channels: C, the channels of the input.
        tile_size: height and width of the tiles, or one number for both; the last ones may be cut off.
        reduction: r; the bottleneck is C // r wide.
        bias: whether both layers have a bias.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C C/r weights; 2 C C/r multiply-adds for each tile.
    Raises: AttnzooError for tiles below 1, a bottleneck without channels, or an input that is not (B, C, H, W).
    """

    reference_keys = {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}

    def __init__(
        self,
        channels: int,
        tile_size: int | Sequence[int] = (7, 7),
        reduction: int = 16,
        bias: bool = True,
    ) -> None:
        super().__init__()
        hidden = checks.reduced("tse", channels, reduction)
        self.tile_size = checks.pair("tse", "tile_size", tile_size)
        self.channels = channels
        self.mlp = BottleneckMLP(channels, hidden, bias)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("tse", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        height, width = self.tile_size
        x_wide = wide(x)
        with without_autocast(x):
            means = self._tiles(x_wide, 2, height) @ (x_wide @ self._tiles(x_wide, 3, width).mT)
        logits = self.mlp(means.movedim(1, 3)).movedim(3, 1)  # (B, C, tiles down, tiles across)
        gates = logits.sigmoid().to(x.dtype)
        repeated = gates.repeat_interleave(width, dim=3).repeat_interleave(height, dim=2)
        return repeated[:, :, : x.shape[2], : x.shape[3]]

    def _tiles(self, x: Tensor, dim: int, length: int) -> Tensor:
        """The matrix that averages over the tiles along a dimension."""
        size = x.shape[dim]
        starts = torch.arange(0, size, length, device=x.device)
        return averaging(starts, (starts + length).clamp(max=size), size, x.dtype)
