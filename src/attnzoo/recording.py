"""Collecting attention maps while a model runs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

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
            without gradient and dropout, from the running statistics and random draws that forward itself met.
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
    """Once forward has taken its inputs, compute the map from the state that it found, and leave the one it left."""
    found: list[_State] = []

    def remember(*_: Any) -> None:
        found[:] = [_State.of(module)]

    def watched(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], __: Any) -> None:
        with torch.no_grad(), found[0].again():
            _keep(maps, path, module.attention(*inputs, **named))  # type: ignore[operator]

    handles = (module.register_forward_pre_hook(remember), module.register_forward_hook(watched, with_kwargs=True))

    def undo() -> None:
        for handle in handles:
            handle.remove()

    return undo


class _State(NamedTuple):
    """What a forward pass may move: buffers, such as running statistics, and torch's generators."""

    buffers: list[tuple[nn.Module, str, Tensor]]
    cpu: Tensor
    cuda: list[Tensor]

    @classmethod
    def of(cls, module: nn.Module) -> "_State":
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        held = ((part, key, x) for part in module.modules() for key, x in part._buffers.items() if x is not None)
        return cls([(part, key, x.clone()) for part, key, x in held], torch.get_rng_state(), cuda)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Within, the module has this state; its own buffers, which a backward pass may still read, stay untouched."""
        own = [(part, key, part._buffers[key]) for part, key, _ in self.buffers]
        with torch.random.fork_rng(range(len(self.cuda))):
            torch.set_rng_state(self.cpu)
            torch.cuda.set_rng_state_all(self.cuda)
            try:
                for part, key, value in self.buffers:
                    part._buffers[key] = value
                yield
            finally:
                for part, key, buffer in own:
                    part._buffers[key] = buffer


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
