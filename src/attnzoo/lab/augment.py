"""Augmentation of a whole uint8 batch (B, C, H, W) at once, on its device, drawn from a generator of its own."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from attnzoo.errors import AttnzooError


def translate(
    images: Tensor, padding: int, generator: torch.Generator, mode: Literal["zeros", "reflect"] = "zeros"
) -> Tensor:
    """Move every image by up to `padding` pixels each way, all offsets equally likely.

    Args:
        images: (B, C, H, W); not modified.
        padding: pixels of margin on each side; 0 moves nothing and draws nothing.
        generator: draws the offsets, on its own device.
        mode: what comes in at the edge: zeros, or the image mirrored there.

    Raises:
        AttnzooError: an unknown mode, a negative padding, or one too large to mirror: it must be below H and W.
    """
    batch, _, height, width = images.shape
    _check(padding, mode, height, width)
    if not padding:
        return images
    top, left = _draw((2, batch), 2 * padding + 1, generator, images.device)
    padded = F.pad(images, [padding] * 4) if mode == "zeros" else _reflected(images, padding)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p + 1, 2p + 1, H, W), a view
    return windows[torch.arange(batch, device=images.device), :, top, left]


def mirror(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2."""
    chosen = _draw((len(images),), 2, generator, images.device) == 1
    return _mirrored(images, chosen)


def alternate(images: Tensor, rows: Tensor, first: Tensor, epoch: int) -> Tensor:
    """Mirror the images of `first` left to right in even epochs and all the others in odd ones.

    Two epochs then show every image both ways, where independent draws show half of them twice the same.

    Args:
        images: (B, C, H, W); not modified.
        rows: (B,), which training images they are.
        first: (N,) bools on the images' device, one per training image: which are mirrored in epoch 0.
        epoch: counted from 0.
    """
    return _mirrored(images, first[rows] ^ (epoch % 2 == 1))


def cutout(images: Tensor, size: int, generator: torch.Generator, fill: Tensor | int = 0) -> Tensor:
    """Blank one square of every image, its centre at any pixel alike; what reaches over the edge is lost.

    Args:
        images: (B, C, H, W); not modified.
        size: of the square's side, in pixels; 0 blanks nothing and draws nothing.
        generator: draws the centres, on its own device.
        fill: the level of 0 to 255 that the square gets, or one for each channel as (C,).

    Raises:
        AttnzooError: a negative size.
    """
    if size < 0:
        raise AttnzooError(f"cutout: expected a size of 0 or more pixels, got {size}; 0 switches it off.")
    if not size:
        return images
    batch, _, height, width = images.shape
    down = _hidden(batch, height, size, generator, images.device)  # (B, H)
    across = _hidden(batch, width, size, generator, images.device)  # (B, W)
    level = torch.as_tensor(fill, device=images.device).to(images.dtype).view(-1, 1, 1)
    return torch.where(down[:, None, :, None] & across[:, None, None, :], level, images)


def _hidden(batch: int, length: int, size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Which of the positions 0 to length - 1 lie in a stretch of `size` around a random one, as (batch, length)."""
    start = _draw((batch, 1), length, generator, device) - size // 2
    position = torch.arange(length, device=device)
    return (position >= start) & (position < start + size)


def _draw(shape: tuple[int, ...], high: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Whole numbers from 0 to high - 1."""
    on_cpu = generator.device.type == "cpu"  # from there a copy need not wait for the device to finish
    return torch.randint(high, shape, generator=generator, device=generator.device).to(device, non_blocking=on_cpu)


def _mirrored(images: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def _reflected(images: Tensor, padding: int) -> Tensor:
    """The images with a mirrored margin; `F.pad` mirrors no uint8 on a GPU."""
    for dim in (2, 3):
        before = images.narrow(dim, 1, padding).flip(dim)
        after = images.narrow(dim, images.shape[dim] - 1 - padding, padding).flip(dim)
        images = torch.cat([before, images, after], dim)
    return images


def _check(padding: int, mode: str, height: int, width: int) -> None:
    if mode not in ("zeros", "reflect"):
        raise AttnzooError(f"translate: expected mode 'zeros' or 'reflect', got {mode!r}.")
    if padding < 0:
        raise AttnzooError(f"translate: expected a padding of 0 or more pixels, got {padding}; 0 switches it off.")
    if mode == "reflect" and padding >= min(height, width):
        raise AttnzooError(
            f"translate: expected a padding below {min(height, width)}, the side of the image, got {padding}; "
            "lower it or use mode 'zeros'."
        )
