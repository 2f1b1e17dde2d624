"""Augmentation of a whole batch at once, drawn from a generator of its own."""

import torch
import torch.nn.functional as F
from torch import Tensor


def shift(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Move every image of (B, C, H, W) by up to `padding` pixels each way; zeros come in at the edge."""
    batch, _, height, width = images.shape
    top, left = torch.randint(0, 2 * padding + 1, (2, batch, 1), generator=generator).to(images.device)
    rows = top + torch.arange(height, device=images.device)  # (B, H)
    columns = left + torch.arange(width, device=images.device)  # (B, W)
    padded = F.pad(images, [padding] * 4).permute(0, 2, 3, 1)
    sample = torch.arange(batch, device=images.device)[:, None, None]
    return padded[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def mirror(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image of (B, C, H, W) left to right with probability 1/2."""
    chosen = torch.rand(len(images), generator=generator).to(images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(3), images)
