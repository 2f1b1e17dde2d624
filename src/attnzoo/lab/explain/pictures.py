"""Users' image files as a network takes them, and points of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from attnzoo.errors import AttnzooError
from attnzoo.lab.data.images import crop_box, decode, fit
from attnzoo.lab.data.reading import content_of

Point = tuple[float, float]


@dataclass(frozen=True)
class Picture:
    """An image file, decoded and brought to a network's size.

    Attributes:
        path: the file.
        pixels: (C, H, W), uint8.
        size: width and height of the image in the file, upright.
        kept: the edges of what was kept of it: left, top, right, bottom, in its pixels.
    """

    path: Path
    pixels: Tensor
    size: tuple[int, int]
    kept: tuple[float, float, float, float]

    def point(self, x: float, y: float) -> Point:
        """Where a pixel of the file's image lies in `pixels`.

        Raises:
            AttnzooError: it is outside the image, or in a part of it that was cropped away.
        """
        left, top, right, bottom = self.kept
        width, height = self.size
        if not (0 <= x < width and 0 <= y < height):
            raise AttnzooError(
                f"{self.path}: the point {x:g},{y:g} is outside; x is at least 0 and below {width}, y below {height}."
            )
        across, down = (int(x) + 0.5 - left) / (right - left), (int(y) + 0.5 - top) / (bottom - top)
        if not (0 <= across < 1 and 0 <= down < 1):
            raise AttnzooError(
                f"{self.path}: the point {x:g},{y:g} is cropped away; the network sees x from {left:g} to {right:g}, "
                f"y from {top:g} to {bottom:g}."
            )
        return across * self.pixels.shape[2], down * self.pixels.shape[1]


def read(path: Path, shape: Sequence[int]) -> Picture:
    """An image file for a network that takes (C, H, W).

    The largest centred part with the network's ratio of sides is kept and resized with antialiasing; an image of the
    network's size stays as it is. For one channel, colours become their luminance (ITU-R 601).

    Raises:
        AttnzooError: the file is missing, no image, damaged or too large, or the network takes neither 1 nor 3
            channels.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise AttnzooError(f"explain: image files have 1 or 3 channels, but the network takes {channels}.")
    image = decode(content_of(path), str(path))
    kept = crop_box(image.shape[0], image.shape[1], height, width)
    pixels = torch.from_numpy(image if image.shape[:2] == (height, width) else fit(image, height, width))
    if channels == 1:
        luminance = pixels.float() @ torch.tensor([0.299, 0.587, 0.114])
        pixels = luminance.round().to(torch.uint8)[..., None]
    return Picture(path, pixels.permute(2, 0, 1), (image.shape[1], image.shape[0]), kept)


def parse_point(text: str) -> Point:
    """A point written as x,y: pixels from the left and from the top.

    Raises:
        AttnzooError: it is not written so.
    """
    if not re.fullmatch(r"\d+(\.\d+)?,\d+(\.\d+)?", text):
        raise AttnzooError(f"--point={text!r} is no point; write it as x,y in pixels of the image, such as 120,64.")
    x, y = text.split(",")
    return float(x), float(y)
