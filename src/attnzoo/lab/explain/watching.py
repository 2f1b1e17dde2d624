"""What the attention modules of a network do in one forward pass."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attnzoo import registry
from attnzoo.modes import evaluating
from attnzoo.recording import record
from attnzoo.surgery.plug import CHILD, Plug

_NO_ATTENTION = ("network", "loss", "activation")  # contracts of what is made of attention modules, or is none


@dataclass(frozen=True)
class Recorded:
    """One map that `attnzoo.record` collected.

    Attributes:
        part: which part of the module it belongs to; "" for the module itself.
        values: without the batch.
        features: what went into that part, (1, ...).
        again: for an affinity, the same for other features, (1, heads, N, M).
    """

    part: str
    values: Tensor
    features: Tensor
    again: Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Seen:
    """One run of an attention module.

    Attributes:
        name: its name in the registry.
        path: the submodule it is plugged in after, or its own name in the model.
        stage: the number of the stage it runs in, from 0.
        alpha: the network takes x + alpha * (module(x) - x); None where it takes module(x).
        before, after: x and module(x).
        maps: what it recorded.
        kernel: the height and width of the kernel that it computes; None where it computes none.
    """

    name: str
    path: str
    stage: int
    alpha: float | None
    before: Tensor
    after: Tensor
    maps: tuple[Recorded, ...]
    kernel: tuple[int, int] | None = None


def attention_modules(model: nn.Module) -> dict[str, tuple[str, nn.Module]]:
    """The outermost attention modules by path, each with its registry name."""
    classes = {registry.module_class(name): name for name in registry.names()}
    found: dict[str, tuple[str, nn.Module]] = {}
    for path, module in model.named_modules():
        name = classes.get(type(module))
        inside = any(path.startswith(f"{outer}.") and not _beyond(path, outer) for outer in found)
        if name is not None and registry.card(name).contract not in _NO_ATTENTION and not inside:
            found[path] = (name, module)
    return found


def watch(model: nn.Module, images: Tensor, stages: Sequence[str]) -> tuple[Tensor, list[Seen]]:
    """The network's output for one image, and what its attention modules did, in running order.

    Args:
        model: any network; it is left as it was.
        images: (1, C, H, W).
        stages: the submodules that end a stage, in running order.
    """
    watcher = _Watcher(attention_modules(model), len(stages))
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.no_grad())
        if any(_recordable(part) for part in model.modules()):
            watcher.maps = stack.enter_context(record(model))
        for handle in watcher.hooks(model, stages):
            stack.callback(handle.remove)
        output = model(images)
    return output, watcher.seen


class _Watcher:
    """Hooks around attention modules, their parts and the ends of stages."""

    def __init__(self, modules: dict[str, tuple[str, nn.Module]], stages: int) -> None:
        self.maps: dict[str, Tensor] = {}
        self.seen: list[Seen] = []
        self.modules = modules
        self.last = stages - 1
        self.stage = 0
        self.plug: tuple[str, Plug] | None = None
        self.given: dict[str, tuple[nn.Module, Any, Any]] = {}  # of the parts: themselves and their last arguments

    def hooks(self, model: nn.Module, stages: Sequence[str]) -> Iterator[Any]:
        """Register all."""
        for path, module in model.named_modules():
            if isinstance(module, Plug):
                yield module.register_forward_pre_hook(self._plug(path, module))
            if _recordable(module):
                yield module.register_forward_pre_hook(self._part(path), with_kwargs=True)
        for path, (name, module) in self.modules.items():
            start: list[int] = []
            yield module.register_forward_pre_hook(lambda *_, start=start: start.append(len(self.maps)))
            yield module.register_forward_hook(self._module(path, name, start), with_kwargs=True)
        for number, path in enumerate(stages):
            yield model.get_submodule(path).register_forward_hook(self._end(number))

    def _plug(self, path: str, plug: Plug) -> Callable[..., None]:
        def begin(*_: Any) -> None:
            self.plug = (path, plug)

        return begin

    def _part(self, path: str) -> Callable[..., None]:
        def begin(module: nn.Module, args: Any, named: Any) -> None:
            self.given[path] = (module, copy.deepcopy(args), copy.deepcopy(named))

        return begin

    def _module(self, path: str, name: str, start: list[int]) -> Callable[..., None]:
        def end(module: nn.Module, args: Any, _: Any, output: Any) -> None:
            before, after = _first(args), _first(output)
            keys = list(self.maps)[start.pop() :]
            where, alpha = path, None
            if self.plug is not None and self.plug[1].module is module:
                where = self.plug[0].removesuffix(f".{CHILD}")
                factor = self.plug[1].alpha
                alpha = None if factor is None else float(factor)
            maps = tuple(self._recorded(path, key, before) for key in keys)
            size = getattr(module, "kernel_size", None)
            kernel = (size[0], size[1]) if isinstance(size, tuple) and len(size) == 2 else None
            self.seen.append(Seen(name, where, min(self.stage, self.last), alpha, before, after, maps, kernel))

        return end

    def _end(self, number: int) -> Callable[..., None]:
        def end(*_: Any) -> None:
            self.stage = number + 1

        return end

    def _recorded(self, path: str, key: str, before: Tensor) -> Recorded:
        own = key.partition("#")[0]
        part = own.removeprefix(path).strip(".")
        if own not in self.given:  # a gate called by what holds it
            return Recorded(part, self.maps[key][0], before, None)
        module, args, named = self.given[own]
        features = _first(args)
        attention: Any = getattr(module, "attention", None)
        again = None if attention is None else lambda x: attention(x, *args[1:], **named)
        if again is not None and hasattr(module, "gate") and again(features).shape != self.maps[key].shape:
            again = None  # what it recorded here is its gate
        return Recorded(part, self.maps[key][0], features, again)


def _beyond(path: str, outer: str) -> bool:
    """Whether there is a plug between two modules of which one is inside the other."""
    return CHILD in path.removeprefix(outer).split(".")


def _recordable(module: nn.Module) -> bool:
    """Whether `attnzoo.record` finds a map of it."""
    kind = type(module)
    return kind.__module__.startswith("attnzoo.") and any(
        callable(getattr(kind, what, None)) for what in ("gate", "attention")
    )


def _first(value: Any) -> Tensor:
    """The first tensor of nested tuples and lists, a copy."""
    while not isinstance(value, Tensor):
        value = value[0]
    return value.detach().clone()
