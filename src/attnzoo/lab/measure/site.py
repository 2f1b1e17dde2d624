"""Where networks are timed: the images, the device, the precision, the layout."""

from dataclasses import dataclass

import torch
from torch import nn

from attnzoo.lab.building import build, laid_out
from attnzoo.lab.trial import Trial, Variant


@dataclass(frozen=True)
class Site:
    """Where networks are timed.

    Attributes:
        shape: (C, H, W) of an image.
        classes: K.
        device: where.
        batch: images in a forward pass.
        dtype: run under autocast to it; None computes in float32.
        channels_last: as in `Recipe`.
    """

    shape: tuple[int, int, int]
    classes: int
    device: torch.device
    batch: int
    dtype: torch.dtype | None = None
    channels_last: bool = False

    def build(self, variant: Variant) -> nn.Module:
        """The variant's network with seed 0."""
        return laid_out(build(Trial(variant, 0), self.shape, self.classes), self.channels_last)
