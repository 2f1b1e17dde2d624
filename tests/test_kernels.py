"""Does attention computed by chunks of its map equal the plain form, values and gradients?"""

import pytest
import torch
from torch import Tensor

from attnzoo.kernels.attention.chunked import chunked_attention
from attnzoo.kernels.chunking import ENTRIES, Scratch, chunks
from attnzoo.kernels.column_attention.chunked import chunked_column_attention

SIZES = {
    "several chunks": (1, 1, 43, 41, 4, 6),
    "several samples a chunk": (3, 2, 7, 7, 4, 9),
    "chunks of few samples": (5, 2, 31, 29, 3, 2),
    "one place": (1, 1, 1, 1, 3, 2),
    "queries that say nothing of the content": (1, 2, 3, 4, 0, 2),
}
SCALE = 0.3


def drawn(size: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Queries, keys, values, what is added for rows and for columns, and the gradient of the output."""
    batch, heads, height, width, d, dv = size
    draws = torch.Generator().manual_seed(0)
    last = (d, d, dv, height, width, dv)
    return tuple(torch.randn(batch, heads, height * width, n, generator=draws, dtype=torch.float64) for n in last)


def by_row(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (SCALE * q @ k.mT).softmax(dim=3) @ v


def by_position(q: Tensor, k: Tensor, v: Tensor, down: Tensor, across: Tensor) -> Tensor:
    return (SCALE * q @ k.mT + (down[..., None] + across[..., None, :]).flatten(3)).softmax(dim=3) @ v


def by_column(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT).softmax(dim=2) @ v


FORMS = {
    "softmax": (by_row, lambda q, k, v: chunked_attention(q, k, v, SCALE)),
    "softmax with positions": (by_position, lambda q, k, v, *places: chunked_attention(q, k, v, SCALE, places)),
    "softmax over queries": (by_column, chunked_column_attention),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("form", FORMS)
def test_chunks_equal_the_plain_form(form: str, size: tuple[int, ...]) -> None:
    plain, chunked = FORMS[form]
    *inputs, dy = drawn(size)
    inputs = [x.requires_grad_() for x in inputs[: 5 if "positions" in form else 3]]
    wanted, found = plain(*inputs), chunked(*inputs)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
    gradients = (torch.autograd.grad(y, inputs, dy) for y in (found, wanted))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_sizes_are_cut_as_they_say() -> None:
    """Else the tests above would prove nothing of chunks."""
    rows = {name: drawn(size)[0].flatten(0, 1) for name, size in SIZES.items()}
    numbers = [len(list(chunks(q, q))) for q in rows.values()]
    assert numbers == [2, 1, 5, 1, 1]


def test_scratch_is_aligned_and_holds_no_old_row() -> None:
    rows, columns = torch.zeros(2, 5, 3), torch.zeros(2, 7, 3)
    scratch = Scratch(rows, columns, ENTRIES)
    for part in (rows, rows[:1, :4]):
        scratch.map(part).zero_()
        weights = scratch.softmax(part)
        assert weights.shape == (*part.shape[:2], 7)
        assert weights.stride(1) * weights.element_size() % 64 == 0
        assert torch.equal(weights, torch.full_like(weights, 1 / 7))
