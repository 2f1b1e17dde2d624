"""Tokens, heads and softmax attention."""

import torch
import torch.nn.functional as F
from torch import Tensor

from attnzoo.blocks.precision import laid_out_like
from attnzoo.kernels.attention import attention as attention

Positions = tuple[Tensor, Tensor]  # (B, h, N, H') and (B, h, N, W'), for keys of H' x W' places


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, heads * d) -> (B, heads, N, d): head h takes the h-th run of d channels."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, N, d) -> (B, N, heads * d), the inverse of `split_heads`."""
    return x.transpose(1, 2).flatten(2)


def affinity(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    scale: float | None = None,
    positions: Positions | None = None,
) -> Tensor:
    """Softmax over the keys of scale * q k^T, stored in full: (B, h, N, d), (B, h, M, d) -> (B, h, N, M).

    `scale` is 1/sqrt(d) by default. `positions` are added to the logits, see `position_terms`. `weights` (B, h, N, M)
    multiply them; then `mask`, True where a key is removed, takes effect.
    """
    logits = q @ k.transpose(-2, -1)
    if scale != 1:
        logits = logits * (q.shape[-1] ** -0.5 if scale is None else scale)
    if positions is not None:
        down, across = positions
        logits = logits + (down[..., None] + across[..., None, :]).flatten(3)
    if weights is not None:
        logits = logits * weights
    if mask is not None:
        logits = logits.masked_fill(mask, float("-inf"))
    return logits.softmax(dim=-1)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """`affinity` times v, its entries dropped with probability `dropout`: (B, h, N, d) -> (B, h, N, dv).

    Multiplicative weights need the stored map; see `attention` for the rest.
    """
    if weights is None:
        return attention(q, k, v, scale, mask=mask, dropout=dropout)
    return F.dropout(affinity(q, k, mask, weights, scale), dropout) @ v


def by_offset(table: Tensor, queries: int) -> Tensor:
    """(2 M - 1, d) -> (queries, M, d): entry [i, j] is the table's row for the offset j - i, from 1 - M up."""
    keys = (table.shape[0] + 1) // 2
    i, j = (torch.arange(n, device=table.device) for n in (queries, keys))
    return table[j - i[:, None] + keys - 1]


def position_terms(q: Tensor, rows: Tensor, columns: Tensor) -> Positions:
    """What the queries of a map give to each row and each column of the keys' map.

    q (B, h, H W, d), rows (H, H', d), columns (W, W', d) -> (B, h, H W, H'), (B, h, H W, W'): the products of the query
    of place (y, x) with rows[y] and columns[x]. Where heads have vectors of their own, (h, H, H', d), (h, W, W', d).
    """
    q = q.unflatten(2, (rows.shape[-3], columns.shape[-3]))
    down, across = q @ rows.mT, (q.transpose(2, 3) @ columns.mT).transpose(2, 3)
    return down.flatten(2, 3), across.flatten(2, 3)


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C), row by row."""
    return x.movedim(1, -1).flatten(1, -2)


def to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W), the inverse of `to_tokens`."""
    return tokens.unflatten(1, (height, width)).movedim(-1, 1)


def to_map_like(tokens: Tensor, x: Tensor) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W) of the size and the memory layout of a map x: `laid_out_like` says what for."""
    return laid_out_like(to_map(tokens, *x.shape[2:]), x)
