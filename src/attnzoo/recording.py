"""Collecting attention maps while a model runs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from attnzoo.errors import AttnzooError


@contextmanager
def record(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect every attention map of the forward passes inside the context, by the path of its module.

    Two kinds of method are recorded, on the library's own modules:
        `gate`: what forward multiplies by. Kept as (B, C) for channels, (B, H, W) for places, in full
            otherwise.
        `attention`: an affinity (B, heads, N, M), which forward itself does not store: computed here,
            without gradient and dropout.
    A module that runs again inside the context adds 'path#2', 'path#3', ... Compiled models run eagerly
    meanwhile. Outside the context nothing remains, and nothing is paid.

        with attnzoo.record(model) as maps:
            model(images)

    Raises:
        AttnzooError: the model holds no module of the library that has a map.
    """
    maps: dict[str, Tensor] = {}
    inner = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    with ExitStack() as stack:
        found = 0
        for path, module in inner.named_modules():
            if not type(module).__module__.startswith("attnzoo."):
                continue
            if _defines(module, "gate"):
                stack.callback(_watch_gate(module, path, maps))
                found += 1
            if _defines(module, "attention"):
                stack.callback(_watch_attention(module, path, maps))
                found += 1
        if not found:
            raise AttnzooError("record: the model holds no attnzoo module with an attention map; see attnzoo.insert.")
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield maps


def _defines(module: nn.Module, method: str) -> bool:
    return callable(getattr(type(module), method, None))


def _watch_gate(module: nn.Module, path: str, maps: dict[str, Tensor]) -> Callable[[], object]:
    gate: Callable[..., Tensor] = module.gate  # type: ignore[assignment]

    def watched(*inputs: Any, **named: Any) -> Tensor:
        value = gate(*inputs, **named)
        _keep(maps, path, _squeeze(value.detach().clone()))  # forward may write over a gate
        return value

    module.__dict__["gate"] = watched  # hides the class's method until it is taken away
    return lambda: module.__dict__.pop("gate")


def _watch_attention(module: nn.Module, path: str, maps: dict[str, Tensor]) -> Callable[[], object]:
    def watched(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], __: Any) -> None:
        with torch.no_grad():
            _keep(maps, path, module.attention(*inputs, **named))  # type: ignore[operator]

    return module.register_forward_hook(watched, with_kwargs=True).remove


def _keep(maps: dict[str, Tensor], path: str, value: Tensor) -> None:
    key, again = path, 1
    while key in maps:
        again += 1
        key = f"{path}#{again}"
    maps[key] = value


def _squeeze(gate: Tensor) -> Tensor:
    """(B, C, 1, 1) -> (B, C); (B, 1, H, W) -> (B, H, W); anything else as it is."""
    if gate.dim() == 4 and gate.shape[2:] == (1, 1):
        return gate.flatten(1)
    if gate.dim() == 4 and gate.shape[1] == 1:
        return gate.squeeze(1)
    return gate
