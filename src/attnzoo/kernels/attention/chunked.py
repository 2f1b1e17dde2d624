"""Attention some queries at a time; the backward pass computes the map again."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

FORWARD, BACKWARD = "attnzoo::chunked_attention", "attnzoo::chunked_attention_backward"
ENTRIES = 2**20  # of the map at a time: 4 MiB in float32, which stay in a CPU's cache


def chunked_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """softmax(scale * q k^T) v: (B, h, N, d), (B, h, M, d), (B, h, M, dv) -> (B, h, N, dv).

    Computed in at least float32, given in v's dtype; no second derivatives.
    """
    heads = q.shape[1]
    dtype = torch.promote_types(q.dtype, torch.float32)
    rows = (x.to(dtype).flatten(0, 1) for x in (q * scale, k, v))
    return _Chunked.apply(*rows)[0].unflatten(0, (-1, heads)).to(v.dtype)


class _Chunked(torch.autograd.Function):
    """The two operations below as one that has a derivative, for autograd and torch.func alike."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ops.attnzoo.chunked_attention(q, k, v)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.ops.attnzoo.chunked_attention_backward(*ctx.saved_tensors, dy)


@torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
def _forward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, d), (B, M, d), (B, M, dv) -> the output (B, N, dv) and the logits' log-sum-exp (B, N, 1)."""
    y, norm = _like_outputs(q, k, v)
    for b, n in _chunks(q, k):
        logits = q[b, n] @ k[b].mT
        norm[b, n] = logits.logsumexp(dim=2, keepdim=True)
        y[b, n] = logits.sub_(norm[b, n]).exp_() @ v[b]
    return y, norm


@torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
def _backward(q: Tensor, k: Tensor, v: Tensor, y: Tensor, norm: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, for that of y."""
    dq, dk, dv = q.new_empty(q.shape), k.new_zeros(k.shape), v.new_zeros(v.shape)
    through = (dy * y).sum(dim=2, keepdim=True)
    for b, n in _chunks(q, k):
        p = (q[b, n] @ k[b].mT).sub_(norm[b, n]).exp_()
        dv[b].baddbmm_(p.mT, dy[b, n])
        ds = (dy[b, n] @ v[b].mT).sub_(through[b, n]).mul_(p)
        dq[b, n] = ds @ k[b]
        dk[b].baddbmm_(ds.mT, q[b, n])
    return dq, dk, dv


def _chunks(q: Tensor, k: Tensor) -> Iterator[tuple[slice, slice]]:
    """Samples and queries whose logits are computed together: whole samples where they are small."""
    samples = max(1, ENTRIES // (q.shape[1] * k.shape[1]))
    queries = max(16, ENTRIES // k.shape[1])
    for b in range(0, q.shape[0], samples):
        for n in range(0, q.shape[1], queries):
            yield slice(b, b + samples), slice(n, n + queries)


def _like_outputs(q: Tensor, _: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return q.new_empty(*q.shape[:2], v.shape[2]), q.new_empty(*q.shape[:2], 1)


def _like_inputs(q: Tensor, k: Tensor, v: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _batched(op: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[tuple[Tensor, ...], tuple[int, ...]]]:
    """How vmap runs an operation that has a batch: its dimension joins it."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        size = info.batch_size
        joined = [
            (x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)
            for x, dim in zip(inputs, in_dims, strict=True)
        ]
        outputs = tuple(y.unflatten(0, (size, -1)) for y in op(*joined))
        return outputs, (0,) * len(outputs)

    return rule


torch.library.define(FORWARD, "(Tensor q, Tensor k, Tensor v) -> (Tensor, Tensor)")
torch.library.define(
    BACKWARD, "(Tensor q, Tensor k, Tensor v, Tensor y, Tensor norm, Tensor dy) -> (Tensor, Tensor, Tensor)"
)
torch.library.impl(FORWARD, "cpu", _forward)
torch.library.impl(BACKWARD, "cpu", _backward)
torch.library.register_fake(FORWARD, _like_outputs)
torch.library.register_fake(BACKWARD, _like_inputs)
torch.library.register_vmap(FORWARD, _batched(torch.ops.attnzoo.chunked_attention))
torch.library.register_vmap(BACKWARD, _batched(torch.ops.attnzoo.chunked_attention_backward))
