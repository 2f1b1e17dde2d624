"""Does attention computed by parts of its map equal the plain form: values, gradients, and gradients of gradients?"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from attnzoo.kernels.attention import attention, tiles
from attnzoo.kernels.attention.chunked import chunked_attention
from attnzoo.kernels.attention.tiles import Cuts, kept_of_all
from attnzoo.kernels.chunking import Scratch
from attnzoo.kernels.column_attention import chunked as columns
from attnzoo.kernels.column_attention.chunked import chunked_column_attention
from attnzoo.kernels.column_attention.extended import extended_column_attention

SIZES = {
    "one part": (1, 1, 4, 5, 4, 6),
    "several samples a part": (3, 2, 3, 3, 4, 9),
    "parts of the queries": (2, 1, 4, 7, 3, 2),
    "parts of the keys": (1, 2, 7, 8, 4, 3),
    "one place": (1, 1, 1, 1, 3, 2),
    "queries that say nothing of the content": (1, 2, 3, 4, 0, 2),
}
SCALE = 0.3


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that maps of a few places are cut as large ones are."""
    monkeypatch.setattr(tiles, "ENTRIES", 400)
    monkeypatch.setattr(tiles, "SIDE", 30)
    monkeypatch.setattr(columns, "ENTRIES", 400)


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


FORMS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "softmax": (by_row, lambda q, k, v: chunked_attention(q, k, v, SCALE)),
    "softmax with positions": (by_position, lambda q, k, v, *places: chunked_attention(q, k, v, SCALE, places)),
    "softmax over queries": (by_column, chunked_column_attention),
    "softmax over queries, by torch's own": (by_column, extended_column_attention),
}


def leaves(form: str, size: tuple[int, ...]) -> tuple[list[Tensor], Tensor]:
    *inputs, dy = drawn(size)
    return [x.requires_grad_() for x in inputs[: 5 if "positions" in form else 3]], dy


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("form", FORMS)
def test_parts_equal_the_plain_form(form: str, size: tuple[int, ...]) -> None:
    plain, parted = FORMS[form]
    inputs, dy = leaves(form, size)
    wanted, found = plain(*inputs), parted(*inputs)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
    gradients = (torch.autograd.grad(y, inputs, dy) for y in (found, wanted))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("form", [form for form in FORMS if "torch's own" not in form])
def test_gradients_have_gradients(form: str, size: tuple[int, ...]) -> None:
    inputs, dy = leaves(form, size)
    found = []
    for compute in FORMS[form]:
        first = torch.autograd.grad(compute(*inputs), inputs, dy, create_graph=True)
        found.append(torch.autograd.grad(penalty(first), inputs))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def penalty(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([x.square().sum() for x in gradients]).sum()


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_dropout_drops_the_same_again(size: tuple[int, ...], positions: bool) -> None:
    """Given the draws of one call, values, gradients and their gradients are those of the plain form with that mask."""
    *inputs, dy = drawn(size)
    inputs = [x.requires_grad_() for x in inputs[: 5 if positions else 3]]
    q, k, v, *places = inputs
    torch.manual_seed(0)
    found = chunked_attention(q, k, v, SCALE, (places[0], places[1]) if places else None, dropout=0.3)
    torch.manual_seed(0)
    seed = torch.randint(2**62, (1,))
    across = (places[1] if places else q[..., :0]).flatten(0, 1)
    kept = kept_of_all(q.flatten(0, 1), k.flatten(0, 1), across, seed, 0.3).unflatten(0, q.shape[:2])
    logits = SCALE * q @ k.mT
    if places:
        logits = logits + (places[0][..., None] + places[1][..., None, :]).flatten(3)
    wanted = (logits.softmax(dim=3) * kept) @ v
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
    pairs = []
    for y in (found, wanted):
        first = torch.autograd.grad(y, inputs, dy, create_graph=True)
        pairs.append([*first, *torch.autograd.grad(penalty(first), inputs)])
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_dropout_drops_as_many_as_it_says() -> None:
    q = torch.zeros(1, 200, 1)
    kept = kept_of_all(q, q, q[..., :0], torch.tensor([5]), 0.3)
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (kept == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert not torch.equal(kept[:, :30, :30], kept[:, 30:60, 30:60])


def test_a_query_may_forbid_whole_rows_of_keys() -> None:
    q, k, v, down, across, _ = drawn(SIZES["parts of the keys"])
    down[..., :4] = -torch.inf
    found, wanted = chunked_attention(q, k, v, SCALE, (down, across)), by_position(q, k, v, down, across)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("form", [form for form in FORMS if "positions" not in form and "torch's own" not in form])
def test_nothing_in_gives_nothing_out(form: str) -> None:
    for batch, places in ((0, 3), (2, 0)):
        q, v = torch.randn(batch, 2, places, 4, requires_grad=True), torch.randn(batch, 2, places, 5)
        y = FORMS[form][1](q, q, v)
        y.sum().backward()
        assert y.shape == v.shape
        assert q.grad is not None


def test_sizes_are_cut_as_they_say() -> None:
    """Else the tests above would prove nothing of parts."""
    numbers = {}
    for name, size in SIZES.items():
        q, k, _, _, across, _ = (x.flatten(0, 1) for x in drawn(size))
        cuts = Cuts.of(q, k, across)
        numbers[name] = tuple(len(parts) for parts in cuts)
        assert all((part.stop - part.start) % across.shape[2] == 0 for part in cuts.keys)
    assert numbers == {
        "one part": (1, 1, 1),
        "several samples a part": (2, 1, 1),
        "parts of the queries": (2, 2, 1),
        "parts of the keys": (2, 2, 3),
        "one place": (1, 1, 1),
        "queries that say nothing of the content": (1, 1, 1),
    }


@pytest.mark.parametrize("widths", [(4, 4), (4, 6), (9, 4)])
def test_masks_and_widths_go_together(widths: tuple[int, int]) -> None:
    draws = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, 9, n, generator=draws) for n in (widths[0], *widths))
    mask = torch.rand(2, 1, 1, 9, generator=draws) < 0.4
    wanted = (SCALE * q @ k.mT).masked_fill(mask, -torch.inf).softmax(dim=3) @ v
    torch.testing.assert_close(attention(q, k, v, SCALE, mask=mask), wanted)


def test_scratch_is_aligned_and_holds_no_old_row() -> None:
    scratch = Scratch(torch.zeros(1), 2, 5, 7)
    for samples, rows in ((2, 5), (1, 4)):
        weights = scratch.softmax(scratch.map(samples, rows, 7).zero_())
        assert weights.shape == (samples, rows, 7)
        assert weights.stride(1) * weights.element_size() % 64 == 0
        assert torch.equal(weights, torch.full_like(weights, 1 / 7))
