"""Attention with its softmax over the queries, in memory linear in the number of places."""

import torch
from torch import Tensor

from attnzoo.kernels.column_attention.chunked import chunked_column_attention
from attnzoo.kernels.column_attention.extended import extended_column_attention
from attnzoo.kernels.tracing import exporting


def column_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """y_i = sum_j softmax_i(q_i k_j) v_j: (B, h, N, d), (B, h, M, d), (B, h, M, dv) -> (B, h, N, dv).

    Computed in at least float32, given in v's dtype.
    """
    wide = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k, v))
    by_chunks = q.device.type == "cpu" and not exporting()
    return (chunked_column_attention if by_chunks else extended_column_attention)(*wide).to(v.dtype)
