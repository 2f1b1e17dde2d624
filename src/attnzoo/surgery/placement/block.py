"""The placement 'block': the end of every residual branch, before it is added to the shortcut."""

import math
from collections.abc import Iterator
from typing import Final

from attnzoo.surgery.flow import Call, Flow
from attnzoo.surgery.operations import REORDERING, SCALING, SLICING, VIEWING
from attnzoo.surgery.placement.place import Place
from attnzoo.surgery.placement.residuals import Residual, residuals

NONE: Final = "no sum of a branch with convolutions or linear layers and a shortcut around it"


def find(flow: Flow) -> Iterator[Place | str]:
    """The ends of all residual branches in the order in which they run; for those at no submodule, why."""
    for residual in residuals(flow):
        yield _end(flow, residual)


def _end(flow: Flow, residual: Residual) -> Place | str:
    """The last submodule on the branch, or the innermost one around the sum where there is no single one."""
    added = [n for n in flow.steps[residual.total].parents if n != residual.shortcut]
    axis = flow.steps[residual.shortcut].axis
    axis = flow.steps[residual.total].axis if axis is None else axis
    around = next(call for call in flow.calls if residual.total in call.span)  # the innermost one
    found = _last(flow, added[0], residual.total, axis) if len(added) == 1 else None
    if found is not None and flow.runs[found[0].path] <= flow.runs[around.path]:
        return Place(found[0].path, found[1], "end of a residual branch")
    why = "no submodule gives the branch by itself"
    if found is not None:
        why = f"{found[0].path}, which gives the branch, runs elsewhere, too"
    elif len(residual.branches) > 1:
        why = f"{len(residual.branches)} branches are added at once"
    total = flow.steps[residual.total].shape
    if around.path and around.path not in flow.hosts:
        return f"a residual sum of {total} stands in {around.path}, which runs over its own children, and {why}"
    if not around.path:
        return f"a residual sum of {total} stands in the model's own forward, and {why}"
    if around.shape is None or math.prod(around.shape) != math.prod(total):
        return f"a residual sum of {total} is only a part of what {around.path} gives, and {why}"
    return Place(around.path, None, f"after a residual sum: {why}")


def _last(flow: Flow, branch: int, total: int, axis: int | None) -> tuple[Call, int | None] | None:
    """The submodule that gives a branch, and its channel dimension: before any layer scale and drop path.

    Taken is the outermost one that makes the branch or what is only scaled, permuted, reshaped or cut afterwards. Where
    there is none, one that hands the branch through (a dropout, an identity) will do.
    """
    through: tuple[Call, int | None] | None = None
    number = branch
    while True:
        step = flow.steps[number]
        givers = [call for call in flow.givers.get(number, ()) if call.span.stop <= total]
        makers = [call for call in givers if call.creates]
        scaled = step.function in SCALING and len(step.parents) == 1
        if makers and not scaled:
            return makers[-1], axis
        if givers and through is None:
            through = givers[0], axis
        parent = step.parents[0] if len(step.parents) == 1 else None
        if parent is None or not (scaled or step.function in VIEWING | SLICING):
            return through
        before = flow.steps[parent].shape
        if len(before) != len(step.shape) or before[0] != step.shape[0]:
            if through is not None or before[0] != step.shape[0]:
                return through
            axis = None
        elif step.order is not None and axis is not None:
            axis = step.order[axis]
        elif step.function not in REORDERING | SLICING and not scaled and before != step.shape:
            axis = None
        number = parent
