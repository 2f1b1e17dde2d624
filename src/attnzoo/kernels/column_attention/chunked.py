"""Column attention some keys at a time; the backward pass computes the map again."""

from typing import Any

import torch
from torch import Tensor

from attnzoo.kernels.chunking import ENTRIES, Scratch, batched, chunks

FORWARD, BACKWARD = "attnzoo::chunked_column_attention", "attnzoo::chunked_column_attention_backward"


def chunked_column_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `column_attention`; no second derivatives."""
    y: Tensor = _Chunked.apply(*(x.flatten(0, 1) for x in (q, k, v)))
    return y.unflatten(0, (-1, q.shape[1]))


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
        return torch.ops.attnzoo.chunked_column_attention_backward(*ctx.saved_tensors, dy)


@torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
def _forward(q: Tensor, k: Tensor, v: Tensor) -> list[Tensor]:
    """(B, N, d), (B, M, d), (B, M, dv) -> (B, N, dv), in a list, as `batched` wants it."""
    (y,) = _like_output(q, k, v)
    y.zero_()
    scratch = Scratch(k, q, ENTRIES // 2)
    for b, m in chunks(k, q, ENTRIES // 2):
        p = _weights(k[b, m], q[b], scratch)
        y[b].baddbmm_(p.mT, v[b, m])
    return [y]


@torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
def _backward(q: Tensor, k: Tensor, v: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, for that of y."""
    dq, dk, dv = _like_inputs(q, k, v, dy)
    dq.zero_()
    weights, gradients = Scratch(k, q, ENTRIES // 2), Scratch(k, q, ENTRIES // 2)
    for b, m in chunks(k, q, ENTRIES // 2):
        p = _weights(k[b, m], q[b], weights)
        dv[b, m] = p @ dy[b]
        through = (dv[b, m] * v[b, m]).sum(dim=2, keepdim=True)
        ds = torch.bmm(v[b, m], dy[b].mT, out=gradients.map(k[b, m])).sub_(through).mul_(p)
        dk[b, m] = ds @ q[b]
        dq[b].baddbmm_(ds.mT, k[b, m])
    return dq, dk, dv


def _weights(k: Tensor, q: Tensor, scratch: Scratch) -> Tensor:
    """The softmax over the queries, a row for each key."""
    torch.bmm(k, q.mT, out=scratch.map(k))
    return scratch.softmax(k)


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
