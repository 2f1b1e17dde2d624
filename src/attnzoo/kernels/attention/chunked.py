"""Attention a tile of its map at a time; the backward pass computes the tiles again."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from attnzoo.kernels.attention.naive import naive_gradients
from attnzoo.kernels.attention.tiles import Cuts, dropped, kept_of_all
from attnzoo.kernels.chunking import Scratch, batched

FORWARD, BACKWARD = "attnzoo::chunked_attention", "attnzoo::chunked_attention_backward"


def chunked_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    positions: tuple[Tensor, Tensor] | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """softmax(scale * q k^T) v: (B, h, N, d), (B, h, M, d), (B, h, M, dv) -> (B, h, N, dv).

    `positions`, (B, h, N, H) and (B, h, N, W) with H W = M, add to every logit what the query says of the key's row
    and of its column. `dropout` is the probability with which an entry of the map is dropped. Computed in at least
    float32, given in v's dtype. Only second derivatives store the map.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    parts = (q * scale, k, v, *(positions or (q[..., :0], q[..., :0])))
    rows = (x.to(dtype).flatten(0, 1) for x in parts)
    seed = torch.randint(2**62, (1,)) if dropout else torch.zeros(1, dtype=torch.int64)
    y: Tensor = _Chunked.apply(*rows, seed, dropout)[0]
    return y.unflatten(0, q.shape[:2]).to(v.dtype)


class _Chunked(torch.autograd.Function):
    """The two operations below as one that has a derivative, for autograd and torch.func alike."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        q: Tensor, k: Tensor, v: Tensor, down: Tensor, across: Tensor, seed: Tensor, dropout: float
    ) -> tuple[Tensor, Tensor]:
        y, lse = torch.ops.attnzoo.chunked_attention(q, k, v, down, across, seed, dropout)
        return y, lse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *tensors, ctx.dropout = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*tensors, *output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        again = torch.is_grad_enabled() and not torch.compiler.is_compiling()
        gradients = _Backward.apply if again else torch.ops.attnzoo.chunked_attention_backward
        return (*gradients(*ctx.saved_tensors, dy, ctx.dropout), None, None)


class _Backward(torch.autograd.Function):
    """The backward operation with a derivative of its own, by the plain form of the gradients."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        return tuple(torch.ops.attnzoo.chunked_attention_backward(*inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ARG004
        q, k, v, down, across, seed, _, _, dy, ctx.dropout = inputs
        ctx.save_for_backward(q, k, v, down, across, dy, seed)

    @staticmethod
    def backward(ctx: Any, *of_gradients: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, seed = ctx.saved_tensors
        q, k, _, _, across, _ = inputs
        kept = kept_of_all(q, k, across, seed, ctx.dropout) if ctx.dropout else None
        back = torch.func.vjp(partial(naive_gradients, kept=kept), *inputs)[1]
        *found, dy = back(of_gradients)
        return (*found, None, None, None, dy, None)


@torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
def _forward(
    q: Tensor, k: Tensor, v: Tensor, down: Tensor, across: Tensor, seed: Tensor, dropout: float
) -> list[Tensor]:
    """(B, N, d), (B, M, d), (B, M, dv), (B, N, H), (B, N, W) -> (B, N, dv), and the logits' log-sum-exp (B, N, 1).

    That is 0 where all keys fit into a tile and the backward pass can take the softmax again.
    """
    y, lse = (x.zero_() for x in _like_outputs(q, k, v))
    cuts = Cuts.of(q, k, across)
    scratch = cuts.scratch(q)
    for b in cuts.samples:
        for n in cuts.queries:
            if len(cuts.keys) == 1:
                p = scratch.softmax(_logits(b, n, cuts.keys[0], q, k, down, across, scratch))
                y[b, n] = dropped(b, n, cuts.keys[0], p, seed, dropout) @ v[b]
                continue
            top = torch.full_like(lse[b, n], torch.finfo(q.dtype).min)  # finite, for logits that are not
            total = torch.zeros_like(top)  # of what was seen, over exp(top)
            for m in cuts.keys:
                z = _logits(b, n, m, q, k, down, across, scratch)
                higher = torch.maximum(top, z.amax(dim=2, keepdim=True))
                z.sub_(higher).exp_()
                shrunk = top.sub_(higher).exp_()
                total.mul_(shrunk).add_(z.sum(dim=2, keepdim=True))
                y[b, n].mul_(shrunk).baddbmm_(dropped(b, n, m, z, seed, dropout), v[b, m])
                top = higher
            if cuts.keys:
                y[b, n].div_(total)
                lse[b, n] = total.log_().add_(top)
    return [y, lse]


@torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
def _backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    down: Tensor,
    across: Tensor,
    seed: Tensor,
    y: Tensor,
    lse: Tensor,
    dy: Tensor,
    dropout: float,
) -> tuple[Tensor, ...]:
    """The gradients of q, k, v, down and across, for that of y."""
    dq, dk, dv, ddown, dacross = (x.zero_() for x in _like_inputs(q, k, v, down, across))
    through = (dy * y).sum(dim=2, keepdim=True)
    cuts = Cuts.of(q, k, across)
    weights, gradients = cuts.scratch(q), cuts.scratch(q)
    for b in cuts.samples:
        for m in cuts.keys:
            for n in cuts.queries:
                p = _logits(b, n, m, q, k, down, across, weights)
                p = weights.softmax(p) if len(cuts.keys) == 1 else p.sub_(lse[b, n]).exp_()
                ds = torch.bmm(dy[b, n], v[b, m].mT, out=gradients.map(*p.shape))
                dv[b, m].baddbmm_(dropped(b, n, m, p, seed, dropout).mT, dy[b, n])
                ds = dropped(b, n, m, ds, seed, dropout).sub_(through[b, n]).mul_(p)
                dq[b, n].baddbmm_(ds, k[b, m])
                dk[b, m].baddbmm_(ds.mT, q[b, n])
                if down.shape[2]:
                    by_place = ds.unflatten(2, (-1, across.shape[2]))
                    ddown[b, n, _rows(m, across)] = by_place.sum(dim=3)
                    dacross[b, n] += by_place.sum(dim=2)
    return dq, dk, dv, ddown, dacross


def _logits(
    b: slice, n: slice, m: slice, q: Tensor, k: Tensor, down: Tensor, across: Tensor, scratch: Scratch
) -> Tensor:
    """A tile of q k^T, with what the queries say of the keys' rows and columns where they say anything."""
    keys = k[b, m]
    z = scratch.map(q[b, n].shape[0], q[b, n].shape[1], keys.shape[1])
    if not down.shape[2]:
        return torch.bmm(q[b, n], keys.mT, out=z)
    by_place = z.unflatten(2, (-1, across.shape[2]))
    torch.add(down[b, n, _rows(m, across)][..., None], across[b, n][..., None, :], out=by_place)
    return z.baddbmm_(q[b, n], keys.mT)


def _rows(m: slice, across: Tensor) -> slice:
    """The rows of the keys' map in which these keys lie."""
    return slice(m.start // across.shape[2], m.stop // across.shape[2])


def _like_outputs(q: Tensor, _: Tensor, v: Tensor, *rest: Any) -> list[Tensor]:  # noqa: ARG001
    return [q.new_empty(*q.shape[:2], v.shape[2]), q.new_empty(*q.shape[:2], 1)]


def _like_inputs(*inputs: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs[:5])


torch.library.define(
    FORWARD, "(Tensor q, Tensor k, Tensor v, Tensor down, Tensor across, Tensor seed, float dropout) -> Tensor[]"
)
torch.library.define(
    BACKWARD,
    "(Tensor q, Tensor k, Tensor v, Tensor down, Tensor across, Tensor seed, Tensor y, Tensor lse, Tensor dy,"
    " float dropout) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
torch.library.impl(FORWARD, "cpu", _forward)
torch.library.impl(BACKWARD, "cpu", _backward)
torch.library.register_fake(FORWARD, _like_outputs)
torch.library.register_fake(BACKWARD, _like_inputs)
torch.library.register_vmap(FORWARD, batched(torch.ops.attnzoo.chunked_attention))
torch.library.register_vmap(BACKWARD, batched(torch.ops.attnzoo.chunked_attention_backward))
