"""What surrounds every place of a map."""

import torch
from torch import Tensor

from attnzoo.blocks.precision import wide


def coordinates(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (1, 2, H, W) in at least float32: column and row of each place, from -1 to 1, -1 if alone."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    steps = [torch.arange(n, dtype=dtype, device=x.device) for n in x.shape[2:]]
    rows, columns = (step * 2 / step[-1:].clamp(min=1) - 1 for step in steps)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]


def neighbours(
    x: Tensor, height: int, width: int, kernel_size: int, stride: int = 1, dilation: int = 1
) -> list[Tensor]:
    """What height x width windows of a padded map (..., H', W') hold at each of their k^2 places, row by row.

    The entries (..., height, width) are views. A loop over them is faster than any form that stores all the windows,
    by five times or so on a CPU, and needs k^2 times less memory.
    """
    x, reach = x.contiguous(), kernel_size * dilation
    down, across = (height - 1) * stride + 1, (width - 1) * stride + 1
    rows = [x[..., i : i + down : stride, :] for i in range(0, reach, dilation)]
    return [row[..., j : j + across : stride] for row in rows for j in range(0, reach, dilation)]


def windows(x: Tensor, kernel_size: int, stride: int = 1, dilation: int = 1) -> Tensor:
    """All windows of a padded map (B, C, H', W') as a view (B, C, k, k, H, W), for what must be stored for each."""
    span = dilation * (kernel_size - 1) + 1
    held = x.contiguous().unfold(2, span, stride).unfold(3, span, stride)[..., ::dilation, ::dilation]
    return held.permute(0, 1, 4, 5, 2, 3)


def neighbour_products(q: Tensor, k: Tensor, kernel_size: int, stride: int = 1) -> Tensor:
    """The products q k^T within windows: (B, h, d, H, W), padded keys (B, h, d, H', W') -> (B, h, k^2, H, W)."""
    height, width = q.shape[-2:]
    q = q.contiguous()
    return torch.stack([(q * key).sum(dim=2) for key in neighbours(k, height, width, kernel_size, stride)], dim=2)


def neighbour_sum(weights: Tensor, values: Tensor, kernel_size: int, stride: int = 1, dilation: int = 1) -> Tensor:
    """Sum each window with its weights: (..., k^2, H, W), padded values (..., H', W') -> (..., H, W), in float32.

    Weights and values may have any leading dimensions that broadcast.
    """
    height, width = weights.shape[-2:]
    each = zip(
        neighbours(wide(values), height, width, kernel_size, stride, dilation), weights.unbind(dim=-3), strict=True
    )
    value, weight = next(each)
    y = value * weight
    for value, weight in each:
        y = torch.addcmul(y, value, weight)
    return y
