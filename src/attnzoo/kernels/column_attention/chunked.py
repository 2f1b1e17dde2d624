"""Column attention some keys at a time; the backward pass computes the map again."""

from typing import Any

import torch
from torch import Tensor

from attnzoo.kernels.chunking import Scratch, batched, cut
from attnzoo.kernels.column_attention.naive import naive_gradients

ENTRIES = 2**20  # of the map at a time, 4 MiB in float32
FORWARD, BACKWARD = "attnzoo::chunked_column_attention", "attnzoo::chunked_column_attention_backward"


def chunked_column_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `column_attention`. Where gradients are to have gradients, they store the map."""
    y: Tensor = _Chunked.apply(*(x.flatten(0, 1) for x in (q, k, v)))
    return y.unflatten(0, q.shape[:2])


class _Chunked(torch.autograd.Function):
    """The two operations below as one that has a derivative, for autograd and torch.func alike."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        (y,) = torch.ops.attnzoo.chunked_column_attention(q, k, v)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG004 (as torch calls it)
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = ctx.saved_tensors
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return naive_gradients(q, k, v, dy)
        return torch.ops.attnzoo.chunked_column_attention_backward(q, k, v, dy)


@torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
def _forward(q: Tensor, k: Tensor, v: Tensor) -> list[Tensor]:
    """(B, N, d), (B, M, d), (B, M, dv) -> (B, N, dv), in a list, as `batched` wants it."""
    (y,) = _like_output(q, k, v)
    y.zero_()
    parts, (scratch,) = _parts(k, q, 1)
    for b, m in parts:
        p = _weights(k[b, m], q[b], scratch)
        y[b].baddbmm_(p.mT, v[b, m])
    return [y]


@torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
def _backward(q: Tensor, k: Tensor, v: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, for that of y."""
    dq, dk, dv = _like_inputs(q, k, v, dy)
    dq.zero_()
    parts, (weights, gradients) = _parts(k, q, 2)
    for b, m in parts:
        p = _weights(k[b, m], q[b], weights)
        dv[b, m] = p @ dy[b]
        through = (dv[b, m] * v[b, m]).sum(dim=2, keepdim=True)
        ds = torch.bmm(v[b, m], dy[b].mT, out=gradients.map(*p.shape)).sub_(through).mul_(p)
        dk[b, m] = ds @ q[b]
        dq[b].baddbmm_(ds.mT, k[b, m])
    return dq, dk, dv


def _weights(k: Tensor, q: Tensor, scratch: Scratch) -> Tensor:
    """The softmax over the queries, a row for each key."""
    return scratch.softmax(torch.bmm(k, q.mT, out=scratch.map(k.shape[0], k.shape[1], q.shape[1])))


def _parts(k: Tensor, q: Tensor, maps: int) -> tuple[list[tuple[slice, slice]], list[Scratch]]:
    """Samples and keys to compute together, whole samples where they are small, and memory for so many maps of them."""
    samples, keys = k.shape[0], k.shape[1]
    some = max(1, min(keys, max(ENTRIES // max(q.shape[1], 1), 16)))
    several = max(1, min(samples, ENTRIES // max(q.shape[1] * keys, 1)))
    parts = [(b, m) for b in cut(samples, several) for m in cut(keys, some)]
    return parts, [Scratch(k, several, some, q.shape[1]) for _ in range(maps)]


def _like_output(q: Tensor, _: Tensor, v: Tensor) -> list[Tensor]:
    return [q.new_empty(*q.shape[:2], v.shape[2])]


def _like_inputs(q: Tensor, k: Tensor, v: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


torch.library.define(FORWARD, "(Tensor q, Tensor k, Tensor v) -> Tensor[]")
torch.library.define(BACKWARD, "(Tensor q, Tensor k, Tensor v, Tensor dy) -> (Tensor, Tensor, Tensor)")
torch.library.impl(FORWARD, "cpu", _forward)
torch.library.impl(BACKWARD, "cpu", _backward)
torch.library.register_fake(FORWARD, _like_output)
torch.library.register_fake(BACKWARD, _like_inputs)
torch.library.register_vmap(FORWARD, batched(torch.ops.attnzoo.chunked_column_attention))
torch.library.register_vmap(BACKWARD, batched(torch.ops.attnzoo.chunked_column_attention_backward))
