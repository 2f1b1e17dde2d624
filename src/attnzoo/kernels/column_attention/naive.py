"""Column attention as it is defined, the whole map stored."""

from torch import Tensor


def naive_gradients(q: Tensor, k: Tensor, v: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Those of q (B, N, d), k (B, M, d) and v (B, M, dv) for that of y (B, N, dv); they have gradients themselves."""
    p = (k @ q.mT).softmax(dim=2)  # (B, M, N)
    dp = v @ dy.mT
    ds = p * (dp - (dp * p).sum(dim=2, keepdim=True))
    return ds.mT @ k, ds @ q, p @ dy
