"""Where in a model a module can be plugged in."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from attnzoo.surgery.matching import At, match
from attnzoo.surgery.plug import CHILD
from attnzoo.surgery.probe import Seen, probe


@dataclass(frozen=True)
class Site:
    """A submodule after which a module can be plugged in.

    Attributes:
        path: its name in the model.
        kind: its class.
        contract: 'feature' for maps (B, C, H, W), 'tokens' for (B, N, C).
        channels: C.
        size: (H, W) of a map, (N,) of tokens, for the input of the probing pass.
        calls: how often it runs in a forward pass.
    """

    path: str
    kind: str
    contract: str
    channels: int
    size: tuple[int, ...]
    calls: int


def sites(model: nn.Module, at: At = "**", example_input: Any = None) -> list[Site]:
    """The submodules after which a module can be plugged in, found by one probing forward pass.

    Args:
        model: any module; it is left as it was.
        at: which ones: a glob over dotted names ('layer*.*.bn3'; `*` stays within one part of the name, `**`
            crosses dots), a list of globs, or a predicate of name and submodule.
        example_input: what the model takes, see `insert`.

    Raises:
        AttnzooError: nothing matches, or the model does not run on the input.
    """
    return [site for site, _ in find(model, at, example_input) if isinstance(site, Site)]


def find(model: nn.Module, at: At, example_input: Any = None) -> list[tuple[Site | str, Seen | None]]:
    """For every submodule that matches: its site, or the reason why it is none, and what it put out.

    Raises:
        AttnzooError: nothing matches, or the model does not run on the input.
    """
    seen = probe(model, example_input)
    named = {path: module for path, module in model.named_modules() if path and CHILD not in path.split(".")}
    usable = [path for path, what in seen.items() if path and what.shape is not None and len(what.shape) > 2]
    paths = match(named, at, "at", usable)
    return [(_judge(path, named[path], seen.get(path)), seen.get(path)) for path in paths]


def host_of(module: nn.Module) -> nn.Module:
    """Where a plug after `module` is held: a plain Sequential would run a child of its own, so its last one."""
    while type(module).forward is nn.Sequential.forward and len(list(module.children())):
        module = list(module.children())[-1]
    return module


def _judge(path: str, module: nn.Module, seen: Seen | None) -> Site | str:
    if seen is None:
        return f"{path} does not run in a forward pass"
    if isinstance(host_of(module), nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return f"{path} is a container that runs over its own children; take the last of them"
    if seen.shape is None:
        return f"{path} gives no single tensor"
    if not seen.steady:
        return f"{path} runs {seen.calls} times, with different numbers of channels"
    if seen.channels_last:
        return f"{path} gives (B, H, W, C) {seen.shape}, channels last; take a submodule that gives (B, C, H, W)"
    if len(seen.shape) not in (3, 4):
        return f"{path} gives {seen.shape}, neither a map (B, C, H, W) nor tokens (B, N, C)"
    contract, channels, size = "feature", seen.shape[1], seen.shape[2:]
    if len(seen.shape) == 3:
        contract, channels, size = "tokens", seen.shape[2], seen.shape[1:2]
    return Site(path, type(module).__name__, contract, channels, size, seen.calls)
