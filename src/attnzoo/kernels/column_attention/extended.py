"""Column attention by torch's own attention, which never stores the map, with a null key and a channel added."""

import torch
import torch.nn.functional as F
from torch import Tensor


def extended_column_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `column_attention`: y_i = sum_j exp(q_i k_j - l_j) v_j, l_j the log-sum-exp of the logits of key j.

    A channel of 1 in the queries and of -l_j in the keys gives these logits; a null key, of logit and value 0 and
    marked by a channel of the values, gives the sum over the keys, by which a softmax divides.
    """
    keys = _with_row(torch.cat([k, -_log_sum_exp(k, q)], dim=3), 0.0)
    y = _attend(_with_channel(q, 1.0), keys, _with_row(_with_channel(v, 0.0), 1.0))
    return y[..., :-1] / y[..., -1:]


def _log_sum_exp(q: Tensor, k: Tensor) -> Tensor:
    """Of the logits, over the keys: (B, h, N, d), (B, h, M, d) -> (B, h, N, 1).

    Read off the weight of a null key whose logit is the expected one, at most log M less than the result.
    """
    expected = (q * _attend(q, k, k)).sum(dim=3, keepdim=True).detach()
    mark = _with_row(_with_channel(k[..., :0], 0.0), 1.0)
    weight = _attend(torch.cat([q, expected], dim=3), _with_row(_with_channel(k, 0.0), 1.0), mark)
    return expected + torch.log1p(-weight) - weight.log()


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention without a scale, of one width that every kernel of torch takes: a multiple of 8."""
    width = -(-max(q.shape[3], v.shape[3]) // 8) * 8
    q_, k_, v_ = (F.pad(x, (0, width - x.shape[3])) for x in (q, k, v))
    return F.scaled_dot_product_attention(q_, k_, v_, scale=1.0)[..., : v.shape[3]]


def _with_channel(x: Tensor, value: float) -> Tensor:
    return F.pad(x, (0, 1), value=value)


def _with_row(x: Tensor, last: float) -> Tensor:
    """Add a key: zeros, but for the last channel."""
    return torch.cat([x, _with_channel(torch.zeros_like(x[:, :, :1, 1:]), last)], dim=2)
