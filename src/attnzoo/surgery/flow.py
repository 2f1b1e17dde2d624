"""One forward pass as a graph: which tensor came from which, by which function, inside which submodule."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from attnzoo.surgery.hosts import can_host
from attnzoo.surgery.operations import Shape, axis_of_made, axis_of_read, permutation
from attnzoo.surgery.plug import CHILD
from attnzoo.surgery.probe import attempt


@dataclass(frozen=True)
class Step:
    """A tensor of the pass that depends on the input.

    Attributes:
        function: the name of the function that gave it; 'input' for the input itself, 'written' for a tensor of
            which a view was written to, 'unseen' where torch does not tell.
        parents: the numbers of the steps that it was made from.
        shape: its own.
        axis: the dimension that holds its channels, where the functions that made it or read it tell.
        order: where the function permutes dimensions: which of the parent's each of its own is.
        inside: the innermost submodule at work, by its path.
    """

    function: str
    parents: tuple[int, ...]
    shape: Shape
    axis: int | None
    order: tuple[int, ...] | None
    inside: str


@dataclass(frozen=True)
class Call:
    """One run of a submodule.

    Attributes:
        path: its name in the model.
        span: the numbers of the steps made during the run.
        takes: the steps that its tensor arguments are; an empty tuple where they are nested in lists.
        gives: the step that its output is; None where that does not depend on the input.
        shape, device, dtype: of its output; None where that is not one tensor.
    """

    path: str
    span: range
    takes: tuple[int, ...]
    gives: int | None
    shape: Shape | None
    device: torch.device | None
    dtype: torch.dtype | None

    @property
    def creates(self) -> bool:
        """Whether its output was made in it, and not only passed through."""
        return self.gives is not None and self.gives in self.span

    def holds(self, other: "Call") -> bool:
        """Whether the other run is a part of this one."""
        within = not self.path or other.path.startswith(self.path + ".")
        return within and self.span.start <= other.span.start and other.span.stop <= self.span.stop


@dataclass(frozen=True)
class Flow:
    """What happened in a forward pass.

    Attributes:
        steps: in order.
        calls: the runs of submodules, in the order of their ends.
        hosts: the submodules that a plug can be held by; plugs themselves are parts of theirs.
    """

    steps: list[Step]
    calls: list[Call]
    hosts: frozenset[str]

    @cached_property
    def givers(self) -> dict[int, list[Call]]:
        """For every step, the runs of possible hosts that put it out, inner ones first."""
        givers: dict[int, list[Call]] = {}
        for call in self.calls:
            if call.gives is not None and call.path in self.hosts:
                givers.setdefault(call.gives, []).append(call)
        return givers

    @cached_property
    def runs(self) -> Counter[str]:
        """How often each submodule runs."""
        return Counter(call.path for call in self.calls)

    @cached_property
    def readers(self) -> list[list[int]]:
        """For every step, those made from it."""
        readers: list[list[int]] = [[] for _ in self.steps]
        for number, step in enumerate(self.steps):
            for parent in step.parents:
                readers[parent].append(number)
        return readers

    @cached_property
    def dominators(self) -> list[int]:
        """For every step, the last one before it that all ways from the input to it pass through; 0 for the input."""
        last = [0] * len(self.steps)
        for number, step in enumerate(self.steps):
            meeting = next(iter(step.parents), 0)
            for other in step.parents:
                while meeting != other:
                    meeting, other = (last[meeting], other) if meeting > other else (meeting, last[other])
            last[number] = meeting
        return last


def follow(model: nn.Module, example_input: Any = None) -> Flow:
    """Run the model once, in eval mode and without gradient, and see how its tensors come about.

    The model is left as it was: modes, statistics and random state.

    Args:
        model: any module.
        example_input: as in `probe.attempt`.

    Raises:
        AttnzooError: the model does not run on that input.
    """
    recorder = _Recorder()
    handles = []
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue  # it takes no hooks
        handles.append(module.register_forward_pre_hook(recorder.enter(path), with_kwargs=True))
        handles.append(module.register_forward_hook(recorder.leave(path)))
    try:
        with recorder:
            attempt(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    named = ((path, module) for path, module in model.named_modules() if path and CHILD not in path.split("."))
    hosts = frozenset(path for path, module in named if can_host(module))
    return Flow(_with_axes(recorder.steps), recorder.calls, hosts)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)


class _Recorder(TorchFunctionMode):
    """Numbers the tensors that depend on the input, without holding them."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.calls: list[Call] = []
        self._numbers = WeakTensorKeyDictionary()
        self._open: list[tuple[str, int, tuple[int, ...]]] = []  # runs under way: path, first step, steps taken in

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = list(tensors([args, kwargs]))
        versions = [_version(x) for x in read]
        result = func(*args, **kwargs)
        parents = tuple(dict.fromkeys(self._numbers[x] for x in read if x in self._numbers))
        if not parents:
            return result
        name = _name(func)
        order = permutation(name, args[1:], kwargs, read[0].dim())
        written = [x for x, version in zip(read, versions, strict=True) if _version(x) != version]
        for x in written:
            self._number(x, name, parents, None)
            if x._base is not None:  # what is written to a view is written to the whole
                known = (self._numbers[x._base],) if x._base in self._numbers else ()
                self._number(x._base, "written", (*known, self._numbers[x]), None)
        known_objects = {id(x) for x in read}
        for x in tensors(result):
            if id(x) not in known_objects:
                self._number(x, name, parents, order)
        return result

    def enter(self, path: str) -> Any:
        """The hook before every run of a submodule."""

        def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
            if not self.steps:
                self.steps.append(_input(args, kwargs))
                for x in tensors([args, kwargs]):
                    self._numbers[x] = 0
            given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
            nested = any(True for x in (*args, *kwargs.values()) if not isinstance(x, Tensor) for _ in tensors(x))
            takes = () if nested else tuple(self._numbers[x] for x in given if x in self._numbers)
            self._open.append((path, len(self.steps), takes))

        return enter

    def leave(self, path: str) -> Any:
        """The hook after every run of a submodule."""

        def leave(_: nn.Module, __: Any, output: Any) -> None:
            while self._open[-1][0] != path:  # runs that ended by an exception which the model caught
                self._open.pop()
            first, takes = self._open.pop()[1:]
            for x in tensors(output):
                if x not in self._numbers and takes:
                    self._number(x, "unseen", takes, None)
            span = range(first, len(self.steps))
            if not isinstance(output, Tensor):
                self.calls.append(Call(path, span, takes, None, None, None, None))
                return
            gives, shape = self._numbers.get(output), tuple(output.shape)
            self.calls.append(Call(path, span, takes, gives, shape, output.device, output.dtype))

        return leave

    def _number(self, x: Tensor, name: str, parents: tuple[int, ...], order: tuple[int, ...] | None) -> None:
        shape = tuple(x.shape)
        before = [self.steps[n] for n in sorted(parents)]  # where layouts differ, a gate follows what it was made from
        main = max(before, key=lambda step: (step.shape == shape, step.axis is not None, math.prod(step.shape)))
        axis = axis_of_made(name, order, main.shape, main.axis, shape)
        self._numbers[x] = len(self.steps)
        self.steps.append(Step(name, parents, shape, axis, order, self._open[-1][0] if self._open else ""))


def _with_axes(steps: list[Step]) -> list[Step]:
    """The steps with their channel dimensions, also of those that only their readers tell of."""
    known = list(steps)
    for number in range(len(steps) - 1, 0, -1):
        step = known[number]
        for parent in step.parents:
            before = known[parent]
            if before.axis is None:
                axis = axis_of_read(step.function, step.order, step.shape, step.axis, before.shape)
                known[parent] = replace(before, axis=axis)
    return known


def _input(args: Any, kwargs: Any) -> Step:
    """The step of everything that goes in, in the shape of the first tensor."""
    shape = next((tuple(x.shape) for x in tensors([args, kwargs])), ())
    return Step("input", (), shape, 1 if len(shape) == 4 else None, None, "")


def _name(function: Any) -> str:
    """The name of a function, or of the property that a getter reads."""
    name: str = getattr(function, "__name__", "")
    return name if name != "__get__" else getattr(function.__self__, "__name__", name)


def _version(x: Tensor) -> int:
    """How often a tensor was written to."""
    return 0 if x.is_inference() else x._version
