"""Means over cells of any size, covariances, and resizing."""

import torch
import torch.nn.functional as F
from torch import Tensor

from attnzoo.blocks.precision import wide, without_autocast


def covariance(x: Tensor) -> Tensor:
    """The biased covariance of the rows, in at least float32: (B, C, N) -> (B, C, C)."""
    with without_autocast(x):
        deviation = wide(x) - wide(x).mean(dim=2, keepdim=True)
        return deviation @ deviation.mT / x.shape[2]


def square_root(matrix: Tensor, steps: int) -> Tensor:
    """The root of covariances, by Newton-Schulz steps from the matrix over its trace: (B, C, C) -> (B, C, C)."""
    trace = matrix.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None].clamp(min=torch.finfo(matrix.dtype).tiny)
    identity = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    root = matrix / trace
    step = 1.5 * identity - 0.5 * root
    root, inverse = root @ step, step
    for _ in range(steps - 1):
        step = 1.5 * identity - 0.5 * inverse @ root
        root, inverse = root @ step, step @ inverse
    return root * trace.sqrt()


def averaging(starts: Tensor, ends: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """The matrix (n, size) whose row i averages the places from starts[i] to below ends[i]."""
    places = torch.arange(size, device=starts.device)
    inside = (places >= starts[:, None]) & (places < ends[:, None])
    return inside.to(dtype) / (ends - starts).to(dtype)[:, None]


def adaptive_averaging(x: Tensor, dim: int, cells: int) -> Tensor:
    """The matrix (cells, size) of adaptive average pooling along a dimension of x, coarser or finer.

    Products with it export for any size, which torch's own adaptive pooling does not.
    """
    size, i = x.shape[dim], torch.arange(cells, device=x.device)
    return averaging(i * size // cells, ((i + 1) * size + cells - 1) // cells, size, x.dtype)


def adaptive_avg_pool(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) -> (B, C, height, width) in at least float32, with the windows of `nn.AdaptiveAvgPool2d`."""
    x = wide(x)
    with without_autocast(x):
        return adaptive_averaging(x, 2, height) @ (x @ adaptive_averaging(x, 3, width).mT)


def resize(x: Tensor, height: int, width: int, *, align_corners: bool = False) -> Tensor:
    """Bilinear interpolation: (B, C, H, W) -> (B, C, height, width)."""
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=align_corners)
