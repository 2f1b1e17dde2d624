"""The rows of an explanation's band in a figure.

Importing this file imports matplotlib.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, PowerNorm, TwoSlopeNorm
from torch import Tensor

from attnzoo.lab.explain import panels
from attnzoo.lab.explain.cams import METHODS, Cam
from attnzoo.lab.explain.explanation import Explanation
from attnzoo.lab.explain.maps import Map

_CAPTION: Final = 31  # letters that fit above a panel


@dataclass(frozen=True)
class Panel:
    """One panel: its caption, and what draws it."""

    caption: str
    draw: Callable[[Axes], None]


@dataclass(frozen=True)
class Row:
    """Panels on one scale, whose name stands beside the colour bar; `over_image` if they show the image, too."""

    heading: str
    panels: tuple[Panel, ...]
    scale: Normalize
    colours: Colormap
    label: str
    over_image: bool


def inserted(one: Explanation) -> str:
    """The network with the modules, in words."""
    return f"with {', '.join(one.modules)}" if one.modules else "the network"


def rows_of(one: Explanation) -> list[Row]:
    """What the modules show, then Grad-CAM."""
    return [*_attention(one), *_activation(one)]


def _attention(one: Explanation) -> list[Row]:
    """A row for each thing shown, and for each further module of a stage."""
    kinds: dict[tuple[str, str], list[Map]] = defaultdict(list)
    for each in one.maps:
        kinds[each.module, each.what].append(each)
    rows = []
    for (module, what), maps in kinds.items():
        scale, colours = _scale([each.values for each in maps], _label(what))
        lines: dict[tuple[int, int | None], dict[int, Map]] = defaultdict(dict)
        for each in maps:
            number = next(n for n in range(len(maps)) if each.stage not in lines.get((n, each.point), {}))
            lines[number, each.point][each.stage] = each
        for (number, point), line in sorted(lines.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
            drawn = tuple(_panel(one, line.get(stage), stage, scale, colours) for stage in range(len(one.stages)))
            heading = f"{module} · {what}{_which(one, point)}{f' · module {number + 1} of a stage' if number else ''}"
            rows.append(Row(heading, drawn, scale, colours, _label(what), maps[0].kind == "places"))
    return rows


def _which(one: Explanation, point: int | None) -> str:
    return f" · point {point + 1}" if point is not None and len(one.points) > 1 else ""


def _label(what: str) -> str:
    words = what.rpartition(": ")[2]
    labels = {"gate": "gate", "affinity of the": "affinity over its mean", "weights": "weight over their mean"}
    return next((label for start, label in labels.items() if words.startswith(start)), "ratio")


def _panel(one: Explanation, shown: Map | None, stage: int, scale: Normalize, colours: Colormap) -> Panel:
    if shown is None:
        return Panel(f"stage {stage + 1}", partial(panels.nothing, why="no such map\nin this stage"))
    start, end = f"stage {stage + 1} · ", "" if shown.alpha is None else f" · α = {shown.alpha:.2g}"
    caption = start + panels.shortened(shown.path, _CAPTION - len(start) - len(end)) + end
    if shown.kind == "places":
        return Panel(caption, partial(_places, one, shown.values, scale, colours, shown.point))
    draw = panels.channels if shown.kind == "channels" else panels.matrix
    return Panel(caption, partial(draw, values=shown.values, scale=scale, colours=colours))


def _places(
    one: Explanation, values: Tensor, scale: Normalize, colours: Colormap, point: int | None, axes: Axes
) -> None:
    panels.places(axes, one, values, scale, colours)
    if point is not None:
        panels.point(axes, one, point)


def _scale(values: Sequence[Tensor], label: str) -> tuple[Normalize, Colormap]:
    """One for all: around 0 where there are negative values, else from the least to the greatest.

    What lies over its mean is drawn by its root, so that a few great values leave the others visible.
    """
    low, high = panels.limits(values)
    if low >= 0 and label.endswith("mean"):
        return PowerNorm(0.5, 0, max(high, 2.0)), matplotlib.colormaps["viridis"]
    if low >= 0:
        return Normalize(low, high), matplotlib.colormaps["viridis"]
    reach = max(-low, high)
    return TwoSlopeNorm(0, -reach, reach), matplotlib.colormaps["PuOr_r"]


def _activation(one: Explanation) -> list[Row]:
    """Both methods with and without the modules: in one row for one stage, else in a row each."""
    stages = sorted({cam.stage for cam in one.cams})
    scale, colours = Normalize(0, 1), matplotlib.colormaps["magma"]
    target = f"class {one.class_name(one.target)}"
    panel = partial(_cam_panel, one, scale, colours)
    label = "from least to greatest"
    if len(stages) == 1:
        layers = " and ".join(dict.fromkeys(cam.layer for cam in one.cams))
        where = f"stage {stages[0] + 1} ({layers})"
        drawn = tuple(
            panel(cam, ", ".join(filter(None, (cam.method, _network(one, cam))))) for cam in _in_order(one.cams)
        )
        return [Row(f"{' and '.join(METHODS)} for {target} at {where}", drawn, scale, colours, label, True)]
    rows = []
    for method in METHODS:
        for network in dict.fromkeys(cam.inserted for cam in one.cams):
            line = [cam for cam in one.cams if cam.method == method and cam.inserted == network]
            drawn = tuple(panel(cam, f"stage {cam.stage + 1} · {cam.layer}") for cam in line)
            heading = ", ".join(filter(None, (f"{method} for {target}", _network(one, line[0]))))
            rows.append(Row(heading, drawn, scale, colours, label, True))
    return rows


def _in_order(cams: Sequence[Cam]) -> list[Cam]:
    return sorted(cams, key=lambda cam: (METHODS.index(cam.method), not cam.inserted))


def _network(one: Explanation, cam: Cam) -> str:
    """Which of the two networks; nothing where there is one."""
    if not cam.inserted:
        return "without"
    return inserted(one) if one.modules else ""


def _cam_panel(one: Explanation, scale: Normalize, colours: Colormap, cam: Cam, caption: str) -> Panel:
    if not cam.values.any():
        return Panel(caption, partial(panels.nothing, why="no place speaks\nfor the class\nmore than others"))
    return Panel(
        panels.shortened(caption, _CAPTION),
        partial(panels.places, one=one, values=cam.values, scale=scale, colours=colours),
    )
