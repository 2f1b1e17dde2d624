"""Softmax attention in memory linear in the number of places, for any head widths."""

import torch
import torch.nn.functional as F
from torch import Tensor

from attnzoo.kernels.attention.chunked import chunked_attention
from attnzoo.kernels.tracing import exporting


def attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, positions: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """softmax(scale * q k^T) v: (B, h, N, d), (B, h, M, d), (B, h, M, dv) -> (B, h, N, dv); scale is 1/sqrt(d).

    `positions`, (B, h, N, H') and (B, h, N, W') for keys of H' x W' places, are added to the scaled logits: the first
    for the key's row, the second for its column.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    on_cpu = q.device.type == "cpu" and not exporting()
    if on_cpu and (positions is not None or q.shape[-1] != v.shape[-1]):  # where torch's own form stores the map
        return chunked_attention(q, k, v, scale, positions)
    if positions is not None:
        q, k = widened(q * scale, k, *positions)
        scale = 1.0
    if not exporting():
        q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))  # else torch stores the map as well
    return F.scaled_dot_product_attention(q, k, v, scale=scale)


def widened(q: Tensor, k: Tensor, down: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys whose products are q k^T + down[..., y'] + across[..., x'], the key's row y' and column x'.

    The query carries its numbers for all rows and columns, the key a one in its own.
    """
    height, width = down.shape[3], across.shape[3]
    y, x = (torch.arange(n, device=k.device) for n in (height, width))
    in_row, in_column = (y[:, None] == y)[:, None].expand(-1, width, -1), (x[:, None] == x).expand(height, -1, -1)
    places = torch.cat([in_row, in_column], dim=2).flatten(0, 1).to(k.dtype).expand(*k.shape[:2], -1, -1)
    return torch.cat([q, down, across], dim=3), torch.cat([k, places], dim=3)
