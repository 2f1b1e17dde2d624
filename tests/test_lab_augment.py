"""Does augmentation move, mirror and blank exactly the pixels it says, each way as often as the other?"""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from attnzoo import AttnzooError
from attnzoo.lab import augment

BATCH, CHANNELS, HEIGHT, WIDTH = 400, 2, 5, 6


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def images(request: pytest.FixtureRequest) -> Tensor:
    """Random images without zeros, so that what comes in at an edge is told apart; on each kind of device here."""
    made = torch.randint(1, 256, (BATCH, CHANNELS, HEIGHT, WIDTH), dtype=torch.uint8, generator=drawn(7))
    return made.to(request.param)


@pytest.mark.parametrize(("mode", "numpy_mode"), [("zeros", "constant"), ("reflect", "reflect")])
@pytest.mark.parametrize("padding", [1, 3])
def test_translate_is_a_crop_of_the_padded_image(images: Tensor, mode: str, numpy_mode: str, padding: int) -> None:
    before = images.clone()
    moved = augment.translate(images, padding, drawn(), mode)
    assert torch.equal(images, before)
    assert (moved.dtype, moved.shape, moved.is_contiguous()) == (torch.uint8, images.shape, True)
    offsets: Counter[tuple[int, int]] = Counter()
    for image, got in zip(images.cpu().numpy(), moved.cpu().numpy(), strict=True):
        margin = ((0, 0), (padding, padding), (padding, padding))
        padded = np.pad(image, margin, mode=numpy_mode)
        places = [(i, j) for i in range(2 * padding + 1) for j in range(2 * padding + 1)]
        found = [(i, j) for i, j in places if np.array_equal(padded[:, i : i + HEIGHT, j : j + WIDTH], got)]
        assert len(found) == 1
        offsets[found[0]] += 1
    expected = BATCH / len(places)
    assert all(abs(offsets[place] - expected) < 5 * expected**0.5 for place in places)


def test_no_padding_draws_nothing(images: Tensor) -> None:
    generator = drawn()
    state = generator.get_state()
    assert torch.equal(augment.translate(images, 0, generator), images)
    assert torch.equal(augment.cutout(images, 0, generator), images)
    assert torch.equal(generator.get_state(), state)


def test_mirror(images: Tensor) -> None:
    got = augment.mirror(images, drawn())
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(images, got, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(images, got, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert abs(sum(mirrored) - BATCH / 2) < 5 * (BATCH / 4) ** 0.5


def test_alternate_shows_every_image_both_ways_in_two_epochs(images: Tensor) -> None:
    first = (torch.rand(BATCH, generator=drawn()) < 0.5).to(images.device)
    rows = torch.randperm(BATCH, generator=drawn())[:50].to(images.device)
    even, odd, later = (augment.alternate(images[rows], rows, first, epoch) for epoch in (0, 1, 2))
    assert torch.equal(even, later)
    for row, a, b in zip(rows.tolist(), even, odd, strict=True):
        straight, turned = images[row], images[row].flip(2)
        assert torch.equal(a, turned if first[row] else straight)
        assert torch.equal(b, straight if first[row] else turned)


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_cutout_blanks_one_square(images: Tensor, size: int) -> None:
    got = augment.cutout(images, size, drawn()).cpu()
    corners: Counter[tuple[int, int]] = Counter()
    for image, after in zip(images.cpu(), got, strict=True):
        places = [(i, j) for i in range(HEIGHT) for j in range(WIDTH)]
        found = []
        for i, j in places:
            top, left = i - size // 2, j - size // 2
            wanted = image.clone()
            wanted[:, max(0, top) : max(0, top + size), max(0, left) : max(0, left + size)] = 0
            if torch.equal(wanted, after):
                found.append((i, j))
        assert found
        corners[found[0]] += 1
    if size < 4:
        assert len(corners) == HEIGHT * WIDTH


def test_cutout_fills_with_the_level_asked_for(images: Tensor) -> None:
    levels = torch.tensor([3.0, 250.0])
    got = augment.cutout(images, 20, drawn(), levels)
    assert torch.equal(got, levels.to(images).view(1, 2, 1, 1).expand_as(images))


def test_draws_depend_on_the_generator_alone(images: Tensor) -> None:
    for change in (
        lambda g: augment.translate(images, 2, g),
        lambda g: augment.mirror(images, g),
        lambda g: augment.cutout(images, 3, g),
    ):
        torch.manual_seed(1)
        first = change(drawn())
        torch.manual_seed(2)
        assert torch.equal(first, change(drawn()))
        assert not torch.equal(first, change(drawn(1)))


def test_bad_arguments(images: Tensor) -> None:
    with pytest.raises(AttnzooError, match="expected a padding below 5, the side of the image, got 5"):
        augment.translate(images, 5, drawn(), "reflect")
    with pytest.raises(AttnzooError, match="expected a padding of 0 or more pixels, got -1"):
        augment.translate(images, -1, drawn())
    with pytest.raises(AttnzooError, match="expected mode 'zeros' or 'reflect', got 'wrap'"):
        augment.translate(images, 1, drawn(), "wrap")  # type: ignore[arg-type]
    with pytest.raises(AttnzooError, match="expected a size of 0 or more pixels, got -1"):
        augment.cutout(images, -1, drawn())
