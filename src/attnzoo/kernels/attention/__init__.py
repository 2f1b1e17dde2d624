"""Softmax attention in memory linear in the number of places, for any head widths."""

import torch
import torch.nn.functional as F
from torch import Tensor

from attnzoo.kernels.attention.chunked import chunked_attention


def attention(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """softmax(scale * q k^T) v: (B, h, N, d), (B, h, M, d), (B, h, M, dv) -> (B, h, N, dv); scale is 1/sqrt(d).

    torch's own forms never store the map, but for one case: on a CPU, values that are not as wide as the keys.
    """
    if torch.compiler.is_exporting():
        return F.scaled_dot_product_attention(q, k, v, scale=scale)
    if q.device.type != "cpu" or q.shape[-1] == v.shape[-1]:
        q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))  # else torch stores the map as well
        return F.scaled_dot_product_attention(q, k, v, scale=scale)
    return chunked_attention(q, k, v, q.shape[-1] ** -0.5 if scale is None else scale)
