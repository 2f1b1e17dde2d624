"""Boxes on a grid of places: which places they cover, how much they overlap, which of them to keep.

A box is (x1, y1, x2, y2) in pixels. A grid of stride s has its places at the centres of s x s pixels.
"""

import torch
from torch import Tensor


def grid(height: int, width: int, stride: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The x (width) and y (height) of the places of a grid, in pixels."""
    x, y = (stride * (torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) for n in (width, height))
    return x, y


def covered(boxes: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Which places lie in each box, at least one row and column of them: (N, 4) -> (N, height, width), bool."""
    x, y = grid(height, width, stride, boxes)
    low, high = boxes[:, :2], boxes[:, 2:]
    half = ((high - low) / 2).clamp_min(stride / 2)
    low, high = (low + high) / 2 - half, (low + high) / 2 + half
    across = (low[:, :1] <= x) & (x < high[:, :1])
    down = (low[:, 1:] <= y) & (y < high[:, 1:])
    return down[:, :, None] & across[:, None]


def shrunk(boxes: Tensor, share: float) -> Tensor:
    """Every side moved inwards by this share of the box's width or height: (N, 4) -> (N, 4)."""
    inwards = share * (boxes[:, 2:] - boxes[:, :2])
    return boxes + torch.cat([inwards, -inwards], dim=1)


def quartered(boxes: Tensor) -> Tensor:
    """Each box, and its four corners at half its sides: (N, 4) -> (N, 5, 4)."""
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    parts = ((x1, y1, x2, y2), (x1, y1, x, y), (x, y1, x2, y), (x1, y, x, y2), (x, y, x2, y2))
    return torch.stack([torch.stack(part, dim=1) for part in parts], dim=1)


def owners(boxes: Tensor, inside: Tensor) -> Tensor:
    """The smallest of the boxes that a place lies in: (N, 4), (N, H, W) -> (H, W), -1 where there is none."""
    if not len(boxes):
        return inside.new_full(inside.shape[1:], -1, dtype=torch.long)
    size, owner = torch.where(inside, area(boxes)[:, None, None], torch.inf).min(dim=0)
    return torch.where(size.isinf(), -1, owner)


def area(boxes: Tensor) -> Tensor:
    """(N, 4) -> (N)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union, of each with each: (N, 4), (M, 4) -> (N, M)."""
    low = torch.maximum(first[:, None, :2], second[:, :2])
    high = torch.minimum(first[:, None, 2:], second[:, 2:])
    common = (high - low).clamp_min(0).prod(dim=2)
    return common / (area(first)[:, None] + area(second) - common).clamp_min(1e-9)


def suppressed(boxes: Tensor, scores: Tensor, most: float) -> Tensor:
    """Which boxes to keep, best first: those whose overlap with no kept box of a higher score is above `most`.

    boxes (N, 4), scores (N) -> indices.
    """
    order = scores.argsort(descending=True, stable=True)
    near = (overlaps(boxes[order], boxes[order]) > most).cpu()
    alive = torch.ones(len(order), dtype=torch.bool)
    kept = []
    for i in range(len(order)):
        if alive[i]:
            kept.append(i)
            alive &= ~near[i]
    return order[kept]
