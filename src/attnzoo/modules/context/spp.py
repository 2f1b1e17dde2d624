"""SPP, Spatial Pyramid Pooling: one vector of fixed length from a map of any size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import peak, wide
from attnzoo.registry import Paper, register


@register(
    "spp",
    title="Spatial Pyramid Pooling layer",
    contract="feature",
    plug_in=False,
    paper=Paper(
        title="Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition",
        authors="He, Zhang, Ren, Sun",
        venue="ECCV",
        year=2014,
        url="https://arxiv.org/abs/1406.4729",
    ),
    source="pprp/awesome-attention-mechanism-in-cv@59997fe (the rule of Caffe's SPP layer)",
    source_license="MIT",
    summary="Pools a map of any size into several grids of fixed size and joins their cells into one vector. So a "
    "fully connected layer can follow, whatever the size of the image.",
    summary_zh="把任意大小的特征图池化到若干固定大小的网格，并把所有格子连成一个向量。"
    "因此无论图像多大，后面都可以接全连接层。",
    placement="Between the last convolution and the first fully connected layer.",
    reported="No headline figure recorded here.",
    differences=(
        "The windows have equal sizes and do not overlap, unlike those of adaptive pooling, which gives other numbers "
        "where a side is no multiple of the bin.",
        "Torch's and Caffe's pooling refuse a padding above half a window; here only windows without a single pixel "
        "are refused.",
        "The collection takes bins 1 to num_levels, Caffe powers of two; its second class never constructs.",
        "The SPP of YOLO, parallel maxima of stride 1, is another module.",
    ),
    min_size=4,
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class SPP(nn.Module):
    """For every bin n: the map, padded to n windows of ceil(L / n) on a side of length L, pooled to n x n, flattened.

    Args:
        channels: not needed; if given, inputs must have as many.
        bins: the sides n of the grids.
        pool: 'max', or 'avg', which counts the zeros around the map.

    Shape: (B, C, H, W) -> (B, C * sum of n^2), for any H and W whose windows all hold a pixel: with the default
        bins 4 and from 6 up.
    Cost: no parameters; the map is read once per bin.
    Raises: AttnzooError for no bins or bins below 1, an unknown pool, a map too small for a bin, or an input that is
        not (B, C, H, W).
    """

    def __init__(self, channels: int | None = None, bins: Sequence[int] = (1, 2, 4), pool: str = "max") -> None:
        super().__init__()
        if channels is not None:
            checks.positive("spp", channels=channels)
        checks.sequence("spp", bins=bins)
        checks.positive("spp", **checks.items(bins=bins))
        checks.choice("spp", ("max", "avg"), pool=pool)
        self.channels = channels
        self.bins = tuple(bins)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("spp", x, self.channels)
        for n in self.bins:
            checks.windows_with_pixels("spp", x, n)
        return torch.cat([self._grid(x, n).flatten(1) for n in self.bins], dim=1)

    def _grid(self, x: Tensor, n: int) -> Tensor:
        """(B, C, H, W) -> (B, C, n, n)."""
        (top, bottom, height), (left, right, width) = (_windows(size, n) for size in x.shape[2:])
        filling = float("-inf") if self.pool == "max" else 0.0
        padded = F.pad(x, (left, right, top, bottom), value=filling)
        cells = padded.reshape(*x.shape[:2], n, height, n, width)
        if self.pool == "max":
            return peak(peak(cells, 5), 3)
        return (wide(cells).sum(dim=(3, 5)) / (height * width)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"bins={self.bins}, pool={self.pool!r}"


def _windows(length: int, n: int) -> tuple[int, int, int]:
    """How much to pad before and behind, and the length of a window."""
    window = (length + n - 1) // n
    before = (window * n - length + 1) // 2
    return before, window * n - length - before, window
