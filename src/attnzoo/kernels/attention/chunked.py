"""Attention some queries at a time; the backward pass computes the map again."""

from typing import Any

import torch
from torch import Tensor

from attnzoo.kernels.chunking import Scratch, batched, chunks

FORWARD, BACKWARD = "attnzoo::chunked_attention", "attnzoo::chunked_attention_backward"


def chunked_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, positions: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """softmax(scale * q k^T) v: (B, h, N, d), (B, h, M, d), (B, h, M, dv) -> (B, h, N, dv).

    `positions`, (B, h, N, H) and (B, h, N, W) with H W = M, add to every logit what the query says of the key's row
    and of its column. Computed in at least float32, given in v's dtype; no second derivatives.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    parts = (q * scale, k, v, *(positions or (q[..., :0], q[..., :0])))
    rows = (x.to(dtype).flatten(0, 1) for x in parts)
    y: Tensor = _Chunked.apply(*rows)
    return y.unflatten(0, (-1, q.shape[1])).to(v.dtype)


class _Chunked(torch.autograd.Function):
    """The two operations below as one that has a derivative, for autograd and torch.func alike."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, down: Tensor, across: Tensor) -> Tensor:
        (y,) = torch.ops.attnzoo.chunked_attention(q, k, v, down, across)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:
        return torch.ops.attnzoo.chunked_attention_backward(*ctx.saved_tensors, dy)


@torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
def _forward(q: Tensor, k: Tensor, v: Tensor, down: Tensor, across: Tensor) -> list[Tensor]:
    """(B, N, d), (B, M, d), (B, M, dv), (B, N, H), (B, N, W) -> (B, N, dv), in a list, as `batched` wants it."""
    (y,) = _like_output(q, k, v)
    scratch = Scratch(q, k)
    for b, n in chunks(q, k):
        y[b, n] = _weights(q[b, n], k[b], down[b, n], across[b, n], scratch) @ v[b]
    return [y]


@torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
def _backward(
    q: Tensor, k: Tensor, v: Tensor, down: Tensor, across: Tensor, y: Tensor, dy: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of q, k, v, down and across, for that of y."""
    dq, dk, dv, ddown, dacross = _like_inputs(q, k, v, down, across)
    dk.zero_()
    dv.zero_()
    through = (dy * y).sum(dim=2, keepdim=True)
    weights, gradients = Scratch(q, k), Scratch(q, k)
    for b, n in chunks(q, k):
        p = _weights(q[b, n], k[b], down[b, n], across[b, n], weights)
        dv[b].baddbmm_(p.mT, dy[b, n])
        ds = torch.bmm(dy[b, n], v[b].mT, out=gradients.map(q[b, n])).sub_(through[b, n]).mul_(p)
        dq[b, n] = ds @ k[b]
        dk[b].baddbmm_(ds.mT, q[b, n])
        if down.shape[2]:
            of_keys = ds.unflatten(2, (down.shape[2], across.shape[2]))
            ddown[b, n], dacross[b, n] = of_keys.sum(dim=3), of_keys.sum(dim=2)
    return dq, dk, dv, ddown, dacross


def _weights(q: Tensor, k: Tensor, down: Tensor, across: Tensor, scratch: Scratch) -> Tensor:
    """The softmax over q k^T, with what the queries say of the keys' rows and columns where they say anything."""
    z = scratch.map(q)
    if down.shape[2]:
        torch.add(down[..., None], across[..., None, :], out=z.unflatten(2, (down.shape[2], across.shape[2])))
        z.baddbmm_(q, k.mT)
    else:
        torch.bmm(q, k.mT, out=z)
    return scratch.softmax(q)


def _like_output(q: Tensor, _: Tensor, v: Tensor, *positions: Tensor) -> list[Tensor]:  # noqa: ARG001
    return [q.new_empty(*q.shape[:2], v.shape[2])]


def _like_inputs(*inputs: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs[:5])


torch.library.define(FORWARD, "(Tensor q, Tensor k, Tensor v, Tensor down, Tensor across) -> Tensor[]")
torch.library.define(
    BACKWARD,
    "(Tensor q, Tensor k, Tensor v, Tensor down, Tensor across, Tensor y, Tensor dy)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
torch.library.impl(FORWARD, "cpu", _forward)
torch.library.impl(BACKWARD, "cpu", _backward)
torch.library.register_fake(FORWARD, _like_output)
torch.library.register_fake(BACKWARD, _like_inputs)
torch.library.register_vmap(FORWARD, batched(torch.ops.attnzoo.chunked_attention))
torch.library.register_vmap(BACKWARD, batched(torch.ops.attnzoo.chunked_attention_backward))
