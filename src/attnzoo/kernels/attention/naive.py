"""Softmax attention as it is defined, the whole map stored."""

import torch
from torch import Tensor


def naive_attention(
    q: Tensor, k: Tensor, v: Tensor, down: Tensor, across: Tensor, kept: Tensor | None = None
) -> Tensor:
    """softmax(q k^T + down + across) v: (B, N, d), (B, M, d), (B, M, dv), (B, N, H'), (B, N, W') -> (B, N, dv).

    `down` is added for a key's row and `across` for its column, M = H' W'; empty, they say nothing. `kept` (B, N, M)
    multiplies the map.
    """
    p = _map(q, k, down, across)
    return (p if kept is None else p * kept) @ v


def naive_gradients(
    q: Tensor, k: Tensor, v: Tensor, down: Tensor, across: Tensor, dy: Tensor, kept: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Those of q, k, v, down and across, for the gradient dy of `naive_attention`; they have gradients themselves."""
    p = _map(q, k, down, across)
    dp = dy @ v.mT
    used, dp = (p, dp) if kept is None else (p * kept, dp * kept)
    ds = p * (dp - (dp * p).sum(dim=2, keepdim=True))
    if not down.shape[2]:
        return ds @ k, ds.mT @ q, used.mT @ dy, torch.zeros_like(down), torch.zeros_like(across)
    by_place = ds.unflatten(2, (down.shape[2], across.shape[2]))
    return ds @ k, ds.mT @ q, used.mT @ dy, by_place.sum(dim=3), by_place.sum(dim=2)


def _map(q: Tensor, k: Tensor, down: Tensor, across: Tensor) -> Tensor:
    logits = q @ k.mT
    if down.shape[2]:
        logits = logits + (down[..., None] + across[..., None, :]).flatten(2)
    return logits.softmax(dim=2)
