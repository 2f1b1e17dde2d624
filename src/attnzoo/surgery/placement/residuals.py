"""The residual sums of a network."""

import itertools
import math
from collections.abc import Iterator
from functools import reduce
from operator import and_, or_
from typing import Final, NamedTuple

from attnzoo.surgery.flow import Flow
from attnzoo.surgery.operations import ADDING, MIXING, POOLING, SCALING, SLICING, UPSAMPLING, VIEWING, WEIGHTED
from attnzoo.surgery.plug import CHILD

_KINDS: Final = {"weighted": WEIGHTED, "mixing": MIXING, "pooling": POOLING, "upsampling": UPSAMPLING}
_PROJECTION: Final = 2  # the most convolutions on a shortcut: one, or a depthwise and a pointwise one


class Residual(NamedTuple):
    """A sum of a shortcut and one or more branches, as numbers of steps."""

    total: int
    shortcut: int
    branches: tuple[int, ...]


def residuals(flow: Flow) -> list[Residual]:
    """The residual sums of a network, in the order in which they run.

    Counted are sums of equally shaped tensors that all depend on the input, where one, the shortcut, went through
    nothing that the others did not go through, or through a projection, and the others through more convolutions
    or linear layers. Sums with something up-sampled (feature pyramids) are none, nor sums of equals (the branches
    of selective kernels, the fusion of resolutions in HRNet).
    """
    history = _History(flow)
    found = []
    for total, operands in _sums(flow):
        shortcut = min(operands, key=lambda n: history.beyond(n, operands))
        work = history.beyond(shortcut, operands)
        branches = tuple(n for n in operands if n != shortcut)
        if history.is_shortcut(shortcut, operands) and all(
            history.is_branch(branch, shortcut, work) for branch in branches
        ):
            found.append(Residual(total, shortcut, branches))
    return found


class _Work(NamedTuple):
    weighted: int
    mixing: int
    pooling: int


class _Cut(NamedTuple):
    """For what is only cut from a tensor: the bits of that tensor and of the part."""

    whole: int = 0
    part: int = 0


class _History:
    """Which of the operations that matter here lie on the way to each step: sets as bits of integers."""

    def __init__(self, flow: Flow) -> None:
        self.passed: list[int] = []
        self.kinds = dict.fromkeys((*_KINDS, "gating"), 0)
        self.cut: list[_Cut] = []
        bits = (1 << n for n in itertools.count())
        wholes: dict[int, int] = {}
        for step in flow.steps:
            before = [self.passed[n] for n in step.parents]
            passed = reduce(or_, before, 0)
            kinds = [kind for kind, functions in _KINDS.items() if step.function in functions]
            if step.function in SCALING and len(step.parents) > 1:
                passed &= ~self.kinds["upsampling"] | reduce(and_, before)  # a gate may be up-sampled
                kinds.append("gating")
            for kind in kinds:
                bit = next(bits)
                self.kinds[kind] |= bit
                passed |= bit
            cut = self.cut[step.parents[0]] if step.parents and step.function in VIEWING else _Cut()
            if step.function in SLICING and math.prod(step.shape) < math.prod(flow.steps[step.parents[0]].shape):
                whole = wholes.setdefault(step.parents[0], next(bits))
                cut = _Cut(whole, next(bits))
            self.passed.append(passed | cut.whole | cut.part)
            self.cut.append(cut)

    def only(self, step: int, others: tuple[int, ...], kind: str) -> int:
        """How many operations of a kind lie on the way to a step and to none of the others."""
        elsewhere = reduce(or_, (self.passed[n] for n in others if n != step), 0)
        return (self.passed[step] & ~elsewhere & self.kinds[kind]).bit_count()

    def beyond(self, step: int, others: tuple[int, ...]) -> _Work:
        """The work on the way to a step that is on the way to none of the others."""
        return _Work(*(self.only(step, others, kind) for kind in _Work._fields))

    def is_shortcut(self, step: int, operands: tuple[int, ...]) -> bool:
        """Whether it is what the branches read, or a projection of it; not one part, where they read another."""
        work = self.beyond(step, operands)
        if work.mixing or work.weighted > _PROJECTION:
            return False
        if self.only(step, operands, "upsampling") or self.only(step, operands, "gating"):
            return False
        whole, part = self.cut[step]
        return not any(self.passed[n] & whole and not self.passed[n] & part for n in operands if n != step)

    def is_branch(self, step: int, shortcut: int, work: _Work) -> bool:
        """Whether it went through more than the shortcut did."""
        own = self.beyond(step, (shortcut,))
        if self.only(step, (shortcut,), "upsampling"):
            return False
        if own.weighted or work.weighted:
            return own.weighted > work.weighted and own.weighted >= 2 * work.weighted
        return own.mixing + own.pooling > work.mixing + work.pooling


def _sums(flow: Flow) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Every sum of equally shaped tensors with all its operands: x + a + b is one sum of three."""
    operands: dict[int, tuple[int, ...]] = {}
    for number, step in enumerate(flow.steps):
        if step.function not in ADDING or len(step.parents) < 2 or len(step.shape) not in (3, 4) or 0 in step.shape:
            continue
        equal = all(flow.steps[n].shape == step.shape for n in step.parents)
        if equal and CHILD not in step.inside.split("."):
            inner = [n for n in step.parents if n in operands and flow.readers[n] == [number]]
            operands[number] = tuple(m for n in step.parents for m in (operands.pop(n) if n in inner else (n,)))
    yield from operands.items()
