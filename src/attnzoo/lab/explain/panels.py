"""The panels of a figure: the image, maps over it, bars over channels, matrices, probabilities.

Importing this file imports matplotlib.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.patheffects import withStroke
from torch import Tensor

from attnzoo.lab.explain.explanation import Explanation

INK: Final = "#1b1f24"
MUTED: Final = "#666d76"
ACCENT: Final = "#d4572a"
PALE: Final = "#9aa3ad"
OPACITY: Final = 0.75  # of maps over the image, and of their colour bars over `behind`
_GREY: Final = 0.6  # what the image's middle grey becomes under a map
_CONTRAST: Final = 0.5
_SMALL_TEXT: Final = 6.5
_SMALL_IMAGE: Final = 64  # pixels; smaller ones are drawn as squares
_MARKS: Final = ("+", "x", "1", "2", "3", "4")
_TOP: Final = 3  # channels that are marked
_CLASSES: Final = 5


def image(axes: Axes, one: Explanation) -> None:
    """The image as the network takes it, its points marked."""
    grey = len(one.pixels) != 3
    pixels = one.pixels.float().mean(0) if grey else one.pixels.float().permute(1, 2, 0)
    axes.imshow(
        (pixels / 255).numpy(), cmap="gray", vmin=0, vmax=1, interpolation=_interpolation(one), extent=_extent(one)
    )
    for number in range(len(one.points)):
        point(axes, one, number)
    _frame(axes)


def point(axes: Axes, one: Explanation, number: int) -> None:
    """The mark of a point."""
    x, y = one.points[number]
    mark = axes.plot(x, y, _MARKS[number % len(_MARKS)], color="white", markersize=8, markeredgewidth=1.6)[0]
    mark.set_path_effects([withStroke(linewidth=3.4, foreground="black")])
    if len(one.points) > 1:
        text = axes.annotate(str(number + 1), (x, y), (4, 4), textcoords="offset points", color="white", fontsize=7)
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])


def places(axes: Axes, one: Explanation, values: Tensor, scale: Normalize, colours: Colormap) -> None:
    """A map in colours, the image's light and dark shining through a little: see `behind`."""
    light = _GREY + _CONTRAST * (one.pixels.float().mean(0) / 255 - 0.5)
    axes.imshow(light.numpy(), cmap="gray", vmin=0, vmax=1, interpolation=_interpolation(one), extent=_extent(one))
    shown = np.ma.masked_invalid(values.numpy())
    smooth = "nearest" if _interpolation(one) == "nearest" or bool(values.isnan().any()) else "bilinear"
    axes.imshow(shown, cmap=colours, norm=scale, alpha=OPACITY, interpolation=smooth, extent=_extent(one))
    _frame(axes)


def behind(axes: Axes) -> None:
    """Lay the grey under a colour bar that lies under maps in the mean."""
    axes.set_facecolor(str(_GREY))


def channels(axes: Axes, values: Tensor, scale: Normalize, colours: Colormap) -> None:
    """Bars from the greatest to the least, the numbers of the greatest above them."""
    order = values.argsort(descending=True)
    count = len(values)
    heights = values[order].numpy()
    axes.bar(range(count), heights, width=1.0, color=colours(scale(heights)), linewidth=0)
    low, high = min(float(scale.vmin or 0), 0.0), max(float(scale.vmax or 0), 0.0)
    axes.set(xlim=(-0.5 - count / 40, count - 0.5 + count / 40), ylim=(low, high + 0.16 * (high - low)))
    axes.axhline(0, color=PALE, linewidth=0.6)
    if high > low:
        best = ", ".join(f"{int(number)}" for number in order[:_TOP])
        axes.text(
            0.98, 0.985, f"greatest: {best}", transform=axes.transAxes, ha="right", va="top", fontsize=6, color=INK
        )
    if count == 1:
        axes.set_xticks([0], ["the only one"])
    else:
        axes.set_xticks([0, count - 1], ["greatest", f"least of {count}"])
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.get_xticklabels()[1].set_horizontalalignment("right")
    _ticks(axes)


def matrix(axes: Axes, values: Tensor, scale: Normalize, colours: Colormap) -> None:
    """A matrix, stretched to the panel."""
    axes.imshow(values.numpy(), cmap=colours, norm=scale, aspect="auto", interpolation="nearest")
    rows, columns = values.shape
    axes.set_xticks([0, columns - 1], ["0", str(columns - 1)])
    axes.set_yticks([0, rows - 1], ["0", str(rows - 1)])
    _ticks(axes)


def probabilities(axes: Axes, one: Explanation) -> None:
    """The most probable classes: a bar in `ACCENT` with the modules, one in `PALE` without."""
    both = one.probabilities if one.plain is None else torch.maximum(one.probabilities, one.plain)
    chosen = both.topk(min(_CLASSES, len(both))).indices.tolist()
    if one.target not in chosen:
        chosen[-1] = one.target
    chosen.sort(key=lambda number: -float(one.probabilities[number]))
    series = [(ACCENT, one.probabilities)] + ([] if one.plain is None else [(PALE, one.plain)])
    thickness = 0.78 / len(series)
    for row, (colour, values) in enumerate(series):
        at = [y - 0.39 + thickness * (row + 0.5) for y in range(len(chosen))]
        axes.barh(at, [float(values[number]) for number in chosen], thickness * 0.94, color=colour)
    axes.set(xlim=(0, 1), ylim=(len(chosen) - 0.45, -0.55))
    axes.set_xticks([0, 0.5, 1], ["0", "probability", "1"])
    axes.set_yticks(range(len(chosen)), [shortened(one.class_name(number), 12) for number in chosen])
    _ticks(axes)
    axes.tick_params(axis="y", labelsize=7, labelcolor=INK)


def nothing(axes: Axes, why: str) -> None:
    """An empty panel that says why."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", fontsize=7, color=MUTED)
    for spine in axes.spines.values():
        spine.set_color("#e3e6e9")


def shortened(text: str, most: int) -> str:
    """A text, its middle left out where it is too long."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def limits(values: Sequence[Tensor]) -> tuple[float, float]:
    """The least and greatest of some maps, at least a hundredth apart so that rounding does not look like contrast."""
    every = torch.cat([value[value.isfinite()].flatten() for value in values])
    low, high = float(every.min()), float(every.max())
    short = max(0.01 * max(abs(low), abs(high)) - (high - low), 0)
    return low - short / 2, high + short / 2


def _interpolation(one: Explanation) -> str:
    return "nearest" if min(one.pixels.shape[1:]) <= _SMALL_IMAGE else "bilinear"


def _extent(one: Explanation) -> tuple[float, float, float, float]:
    """The image's frame, so that maps of any resolution cover it."""
    height, width = one.pixels.shape[1:]
    return (0, width, height, 0)


def _frame(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _ticks(axes: Axes) -> None:
    axes.tick_params(length=0, pad=2, labelsize=_SMALL_TEXT, labelcolor=MUTED)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#d5d9dd")
