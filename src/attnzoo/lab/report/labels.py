"""Where the points of a crowded chart and their names go, on axes already laid out."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

_AROUND: Final = tuple(  # offsets of a name from its point, in points, the nearest first
    (side * (7 + 6 * ring), rise * (6 + 6 * ring))
    for ring in range(12)
    for side, rise in ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 2), (0, -2))
)
_FAR: Final = 20  # from here on a line joins name and point


class Point(NamedTuple):
    """A named point, the half height of its interval, and its colour."""

    name: str
    x: float
    y: float
    half: float
    colour: str


def side_by_side(axes: Axes, values: Sequence[float], gap: float = 9) -> list[float]:
    """The x values, moved apart until neighbours are `gap` pixels from one another; groups keep their centre."""
    low, high = axes.get_xlim()
    step = gap * (high - low) / axes.get_window_extent().width
    groups: list[list[int]] = []  # indices into values, from left to right
    for index in sorted(range(len(values)), key=values.__getitem__):
        groups.append([index])
        while len(groups) > 1 and _touch(groups[-2], groups[-1], values, step):
            last = groups.pop()
            groups[-1] += last
    moved = list(values)
    for group in groups:
        for place, index in enumerate(group):
            moved[index] = _centre(group, values) + step * (place - (len(group) - 1) / 2)
    return moved


def name_points(axes: Axes, points: Sequence[Point]) -> None:
    """Write each point's name where it covers no point, no interval, no other name and no edge, if it can."""
    frame = axes.get_window_extent()
    taken = [box for point in points for box in _marks(axes, point)]
    for point in points:
        boxes = {offset: _box(axes, point, offset) for offset in _AROUND}
        best = min(boxes, key=lambda offset: _clashes(boxes[offset], taken, frame))
        taken.append(boxes[best])
        line = {"arrowstyle": "-", "color": point.colour, "linewidth": 0.7, "shrinkB": 4}
        _write(axes, point, best, arrowprops=line if max(map(abs, best)) > _FAR else None)


def _touch(left: list[int], right: list[int], values: Sequence[float], step: float) -> bool:
    return _centre(right, values) - _centre(left, values) < step * (len(left) + len(right)) / 2


def _centre(group: list[int], values: Sequence[float]) -> float:
    return sum(values[index] for index in group) / len(group)


def _write(axes: Axes, point: Point, offset: tuple[int, int], **options: Any) -> Any:
    side = "left" if offset[0] > 0 else "right" if offset[0] < 0 else "center"
    written = axes.annotate(
        point.name,
        (point.x, point.y),
        offset,
        textcoords="offset points",
        ha=side,
        va="center",
        color=point.colour,
        weight="bold",
        **options,
    )
    written.set_in_layout(False)  # the axes keep their size
    return written


def _marks(axes: Axes, point: Point) -> list[Bbox]:
    """The boxes of a point and of its interval, in pixels."""
    (x, low), (_, y), (_, high) = (
        axes.transData.transform((point.x, point.y + rise)) for rise in (-point.half, 0, point.half)
    )
    return [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4), Bbox.from_extents(x - 1, low, x + 1, high)]


def _box(axes: Axes, point: Point, offset: tuple[int, int]) -> Bbox:
    text = _write(axes, point, offset)
    box: Bbox = text.get_window_extent()
    text.remove()
    return box


def _clashes(box: Bbox, taken: Sequence[Bbox], frame: Bbox) -> int:
    outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
    return sum(box.overlaps(other) for other in taken) + 2 * outside
