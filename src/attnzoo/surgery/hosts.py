"""Which module holds a plug."""

from typing import Final

from torch import nn

_LOOPING: Final = {"children", "named_children", "modules", "named_modules", "_modules"}


def host_of(module: nn.Module) -> nn.Module:
    """Where a plug after `module` is held: a plain Sequential would run a child of its own, so its last one."""
    while type(module).forward is nn.Sequential.forward and len(list(module.children())):
        module = list(module.children())[-1]
    return module


def can_host(module: nn.Module) -> bool:
    """Whether a plug after `module` would not be run by it as one of its children."""
    host = host_of(module)
    if isinstance(host, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False
    code = getattr(type(host).forward, "__code__", None)
    return code is None or _LOOPING.isdisjoint(code.co_names)
