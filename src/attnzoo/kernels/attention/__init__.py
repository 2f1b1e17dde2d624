"""Softmax attention in memory linear in the number of places, for any head widths."""

import torch
import torch.nn.functional as F
from torch import Tensor

from attnzoo.kernels.attention.chunked import chunked_attention
from attnzoo.kernels.tracing import exporting

_LINE = 8  # numbers that a GPU's kernels take at a time


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    positions: tuple[Tensor, Tensor] | None = None,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """softmax(scale * q k^T) v: (B, h, N, d), (B, h, M, d), (B, h, M, dv) -> (B, h, N, dv); scale is 1/sqrt(d).

    The map (B, h, N, M) is stored in two cases: dropout together with a mask on a CPU, and second derivatives.

    Args:
        q, k, v: queries, keys and values.
        scale: of the products.
        positions: (B, h, N, H') and (B, h, N, W') for keys of H' x W' places, added to the scaled logits: the first for
            the key's row, the second for its column. Finite, but for the eager form on a CPU.
        mask: boolean, broadcast to (B, h, N, M): True removes a key. Not together with positions.
        dropout: probability with which an entry of the map is dropped.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    on_cpu = q.device.type == "cpu" and not exporting()
    stored = positions is not None or q.shape[-1] != v.shape[-1] or dropout > 0  # by torch's own form
    if on_cpu and stored and mask is None:
        return chunked_attention(q, k, v, scale, positions, dropout)
    if positions is not None:
        q, k = widened(q * scale, k, *positions)
        scale = 1.0
    if not exporting():
        q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))  # else torch stores the map as well
    width = v.shape[-1]
    q, k, v = _padded(q, k, v)
    keep = None if mask is None else ~mask
    return F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=dropout, scale=scale)[..., :width]


def _padded(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Zeros behind the channels, up to widths that torch's linear kernels take: equal on a CPU, else whole lines."""
    if torch.onnx.is_in_onnx_export():
        return q, k, v
    width, of_values = q.shape[-1], v.shape[-1]
    if q.device.type == "cpu":
        wanted = (max(width, of_values),) * 2
    else:
        wanted = (-(-width // _LINE) * _LINE, -(-of_values // _LINE) * _LINE)
    return _filled_up(q, wanted[0]), _filled_up(k, wanted[0]), _filled_up(v, wanted[1])


def _filled_up(x: Tensor, width: int) -> Tensor:
    return x if x.shape[-1] == width else F.pad(x, (0, width - x.shape[-1]))


def widened(q: Tensor, k: Tensor, down: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys whose products are q k^T + down[..., y'] + across[..., x'], the key's row y' and column x'.

    The query carries its numbers for all rows and columns, the key a one in its own.
    """
    height, width = down.shape[3], across.shape[3]
    y, x = (torch.arange(n, device=k.device) for n in (height, width))
    in_row, in_column = (y[:, None] == y)[:, None].expand(-1, width, -1), (x[:, None] == x).expand(height, -1, -1)
    places = torch.cat([in_row, in_column], dim=2).flatten(0, 1).to(k.dtype).expand(*k.shape[:2], -1, -1)
    return torch.cat([q, down, across], dim=3), torch.cat([k, places], dim=3)
