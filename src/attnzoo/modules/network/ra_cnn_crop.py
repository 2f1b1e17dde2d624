"""The crop of RA-CNN: a square cut out softly and enlarged, with a gradient of its own for where it lies."""

from typing import Any

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import laid_out_like, wide, without_autocast
from attnzoo.modules.network.ra_cnn_apn import RACNN
from attnzoo.registry import register

STEEPNESS = 10.0  # of the mask's edges, per pixel


@register(
    "ra_cnn_crop",
    title="RA-CNN attention crop and zoom",
    contract="fusion",
    paper=RACNN,
    source="jeong-tae/RACNN-pytorch@463fa7f (a third-party port)",
    source_license="none found",
    summary="Cuts a square around a predicted centre with a soft mask and enlarges it to the next scale's size. Its "
    "gradient is made by hand: it moves the square towards where the loss changes most.",
    summary_zh="以软掩模在预测中心周围裁出正方形，并放大到下一尺度的大小。"
    "其梯度是手工设计的：把正方形推向损失变化最大的地方。",
    placement="Between the scales of RA-CNN, behind ra_cnn_apn, whose fractions times the side give the pixels.",
    reported="Part of RA-CNN: CUB-200-2011 85.3% with three scales.",
    differences=(
        "The paper describes how the gradient pushes the square in words; its signs are those of the port.",
        "The port fixes 3 channels, 224 pixels and float32, and lets tx run along the rows, unlike the paper; its "
        "training does so too, and so do we.",
        "differentiable=True is our option: the true gradient through mask and resizing, for the image as well.",
    ),
    not_applicable={
        "gradcheck": "the method's gradient is made by hand",
        "ddp": "no parameters, so nothing to synchronise",
    },
    example={"out_size": 9},
    inputs=("B C H H", "B 3"),
)
class AttentionCrop(nn.Module):
    """resize(crop(x * m)), m[i, j] = (s(i - r0) - s(i - r1)) (s(j - c0) - s(j - c1)), s(t) = sigmoid(10 t).

    The square from r0 to r1 and c0 to c1 has its centre at (tx, ty) and half the side tl, moved into the image and at
    least a third of its side, in whole pixels. Backward, with n = -sum over the channels of the squared gradient of
    the output: tx gets the sum of n over the last third of the rows less that over the first, ty the same of the
    columns, tl the sum of n outside the middle ninth less that within. The image gets none.

    Args:
        channels: not needed; if given, inputs must have as many.
        out_size: the side of the output.
        differentiable: leave out the rounding to pixels, and take the true gradient.

    Shape: x (B, C, S, S), locs (B, 3), the pixels tx (along the rows), ty and tl -> (B, C, out_size, out_size).
    Cost: no parameters; about C S out_size (S + out_size) multiply-adds per image.
    Raises: AttnzooError for out_size below 1, an image that is not square, locs that are not (B, 3), or an x that is
        not (B, C, S, S).
    """

    def __init__(self, channels: int | None = None, out_size: int = 224, differentiable: bool = False) -> None:
        super().__init__()
        checks.positive("ra_cnn_crop", out_size=out_size)
        if channels is not None:
            checks.positive("ra_cnn_crop", channels=channels)
        self.channels = channels
        self.out_size = out_size
        self.differentiable = differentiable

    def forward(self, x: Tensor, locs: Tensor) -> Tensor:
        checks.nchw("ra_cnn_crop", x, self.channels, name="x")
        checks.square_map("ra_cnn_crop", x)
        checks.shaped("ra_cnn_crop", "locs", locs, (x.shape[0], 3))
        with without_autocast(x):
            exact = locs.to(wide(x).dtype)
            y = crop(wide(x), exact, self.out_size, False) if self.differentiable else self._cut(wide(x), exact)
        return laid_out_like(y.to(x.dtype), x)

    def _cut(self, x: Tensor, locs: Tensor) -> Tensor:
        return _PushedCrop.apply(x, locs, self.out_size)

    def extra_repr(self) -> str:
        return f"out_size={self.out_size}, differentiable={self.differentiable}"


def crop(x: Tensor, locs: Tensor, out_size: int, whole_pixels: bool) -> Tensor:
    """The masked and resized squares: (B, C, S, S), (B, 3) -> (B, C, out_size, out_size)."""
    side = x.shape[2]
    half = locs[:, 2].clamp_min(side / 3)
    rows, columns = (
        _reading(torch.minimum(torch.maximum(centre, half), side - half), half, side, out_size, whole_pixels)
        for centre in (locs[:, 0], locs[:, 1])
    )
    return rows[:, None] @ x @ columns[:, None].mT


def _reading(centre: Tensor, half: Tensor, side: int, out_size: int, whole_pixels: bool) -> Tensor:
    """The matrix (B, out_size, S) that masks and resizes a side."""
    start, end = (centre - half).clamp_min(0), (centre + half).clamp_max(side)
    if whole_pixels:
        start, end = start.floor(), end.floor()
        end = end.maximum(start + 1)
    i = torch.arange(side, device=centre.device, dtype=centre.dtype)
    mask = torch.sigmoid(STEEPNESS * (i - start[:, None])) - torch.sigmoid(STEEPNESS * (i - end[:, None]))
    steps = torch.arange(out_size, device=centre.device, dtype=centre.dtype) / max(out_size - 1, 1)
    places = start[:, None] + steps * (end - 1 - start)[:, None]  # (B, out_size)
    return (1 - (places[:, :, None] - i).abs()).clamp_min(0) * mask[:, None]


class _PushedCrop(torch.autograd.Function):
    """The crop to whole pixels, with the method's own gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, locs: Tensor, out_size: int) -> Tensor:
        return crop(x, locs, out_size, True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[None, Tensor, None]:  # noqa: ARG004 (as torch calls it)
        strength = -dy.square().sum(dim=1)  # (B, out, out)
        size = dy.shape[3]
        i = torch.arange(size, device=dy.device)
        first, last = 3 * i < size, 3 * i >= 2 * size
        push = (last.long() - first.long()).to(dy.dtype)
        outside = first | last
        grow = torch.where(outside[:, None] | outside, 1, -1).to(dy.dtype)
        moves = (push[:, None].expand(size, size), push.expand(size, size), grow)
        return None, torch.stack([(strength * move).sum(dim=(1, 2)) for move in moves], dim=1), None
