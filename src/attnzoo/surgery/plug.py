"""A module plugged in after another: a child of its host under one reserved name, run by a forward hook."""

from typing import Any

import torch
from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.surgery.arguments import encoded
from attnzoo.surgery.layout import converted, restored

CHILD = "attnzoo"  # the reserved name


class Plug(nn.Module):
    """Runs `module` on its host's output.

    Args:
        name: the registry name of the module.
        module: it keeps the shape of its input.
        identity: compute x + alpha * (module(x) - x), with alpha a parameter that starts at 0: the output is
            x at first, and alpha has a gradient from the first step on.
        arguments: what the module was built with, see `registry.create`; kept as plain data, so that hosts pickle.
        layout: the `layout.conversion` from the host's output to what the module takes.
    """

    alpha: nn.Parameter | None

    def __init__(
        self,
        name: str,
        module: nn.Module,
        identity: bool,
        arguments: dict[str, Any] | None = None,
        layout: str = "",
    ) -> None:
        super().__init__()
        self.name = name
        self.layout = layout
        self.arguments = encoded(arguments or {})
        self.module = module
        self.register_parameter("alpha", nn.Parameter(torch.zeros(1)) if identity else None)

    def forward(self, x: Tensor) -> Tensor:
        y = restored(self.run(converted(x, self.layout)), self.layout, x).to(x.dtype)  # autocast may have widened it
        return y if self.alpha is None else x + self.alpha.to(x.dtype) * (y - x)

    def run(self, x: Tensor) -> Tensor:
        """What the module makes of x."""
        return self.module(x)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Keep the present weights where a checkpoint knows nothing of this plug, as the pretrained one does."""
        if not any(key.startswith(prefix) for key in state_dict):
            state_dict.update({prefix + key: value for key, value in self.state_dict().items()})
        super()._load_from_state_dict(state_dict, prefix, *rest)


def attach(host: nn.Module, plug: Plug) -> None:
    """Run `plug` on every output of `host` from now on.

    Raises:
        AttnzooError: the host holds a plug, or something else under the reserved name.
    """
    held = getattr(host, CHILD, None)
    if isinstance(held, Plug):
        raise AttnzooError(
            f"holds {held.name!r} already; attnzoo.remove(model) takes it out, stack=True puts the new one after it"
        )
    if held is not None:
        raise AttnzooError(f"has an attribute {CHILD!r} of its own, the name that plugs need")
    host.add_module(CHILD, plug)
    host.register_forward_hook(run_plug)


def last_plug(host: nn.Module) -> nn.Module:
    """The last of the plugs stacked after a host, which itself can be a host; the host where there is none."""
    while isinstance(held := getattr(host, CHILD, None), Plug):
        host = held
    return host


def detach(host: nn.Module) -> None:
    """Undo `attach`."""
    delattr(host, CHILD)
    for handle in [key for key, hook in host._forward_hooks.items() if hook is run_plug]:
        del host._forward_hooks[handle]


def run_plug(host: nn.Module, _: Any, output: Tensor) -> Tensor:
    """The forward hook of every host; at module level, so that hosts pickle and copy."""
    return getattr(host, CHILD)(output)
