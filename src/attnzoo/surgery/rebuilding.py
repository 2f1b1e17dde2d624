"""Doing again, on a model as it was built, what a plan says."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from attnzoo import registry
from attnzoo.errors import AttnzooError
from attnzoo.surgery.arguments import decoded
from attnzoo.surgery.chain import Link, Memory
from attnzoo.surgery.changes import Changes
from attnzoo.surgery.folding import folded, takes_norm, with_norm, without_norm
from attnzoo.surgery.history import DROP_NORM, FOLD, REPLACE, TAKE_NORM, remember
from attnzoo.surgery.hosts import host_of
from attnzoo.surgery.layout import conversions
from attnzoo.surgery.plan import INSERT
from attnzoo.surgery.plug import Plug
from attnzoo.surgery.replacement import convolves


class Rebuilding:
    """Redoes the steps of a plan.

    Args:
        model: built as the one was that the plan was made from.
        changes: of that model.
        empty: build modules without memory for their weights, to see whether all fits.
    """

    def __init__(self, model: nn.Module, changes: Changes, empty: bool) -> None:
        self.model = model
        self.changes = changes
        self.empty = empty
        self.chains: dict[int, Link] = {}  # the first link of each

    def redo(self, steps: list[dict[str, Any]]) -> None:
        """Redo all steps.

        Raises:
            AttnzooError: one cannot be redone; those before it are.
        """
        does: dict[str, Callable[..., None]] = {
            INSERT: self.insert,
            REPLACE: self.replace,
            FOLD: self.fold,
            TAKE_NORM: self.take_norm,
            DROP_NORM: self.drop_norm,
        }
        for step in steps:
            facts = {key: value for key, value in step.items() if key != "kind"}
            try:
                does[step["kind"]](**facts)
            except Exception as error:  # whatever the arguments of a tampered plan bring about
                what = str(error) if isinstance(error, AttnzooError) else f"{type(error).__name__}: {error}"
                raise AttnzooError(f"{step['kind']} at {step['path']!r}: {what}") from error

    def insert(
        self,
        path: str,
        name: str,
        arguments: dict[str, Any],
        identity: bool,
        layout: str,
        chain: int | None = None,
        first: bool = True,
        last: bool = True,
        shared: bool = False,
    ) -> None:
        """Plug a module in after a submodule, or a link into a chain."""
        card = registry.card(name)
        if not (card.plug_in if chain is None else card.carries):
            raise AttnzooError(f"{name} does not plug in there")
        if layout not in conversions(card.contract):
            raise AttnzooError(f"{name} takes no layout {layout!r}")
        host = self._at(path)
        if host_of(host) is not host or isinstance(host, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            raise AttnzooError("that is a container, which a plug would join; a plan names the last of its children")
        given = decoded(arguments)
        head = None if chain is None else self.chains.get(chain)
        if shared and (head is None or head.name != name):
            raise AttnzooError(f"no earlier {name} of its chain is there to be shared")
        module = head.module if head is not None and shared else self._build(name, given)
        plug: Plug
        if chain is None:
            plug = Plug(name, module, identity, given, layout)
        else:
            memory = Memory() if head is None else head.memory
            plug = Link(name, module, identity, memory, first=first, last=last, arguments=given, layout=layout)
            self.chains.setdefault(chain, plug)
        plug.train(host.training)
        self._like(path, plug)
        self.changes.attach(host, plug)

    def replace(self, path: str, name: str, arguments: dict[str, Any]) -> None:
        """Put a module in place of a plain convolution."""
        conv = self._at(path)
        if not path or type(conv) is not nn.Conv2d:
            raise AttnzooError(f"expected an nn.Conv2d inside the model, got {type(conv).__name__}")
        if not convolves(name):
            raise AttnzooError(f"{name} does not stand in for a convolution")
        module = self._like(path, self._build(name, decoded(arguments)))
        remember(module, conv, REPLACE, name=name, arguments=arguments)
        self.changes.put(conv, module)

    def fold(self, path: str) -> None:
        """Give a module its form for inference."""
        self.changes.put(self._at(path), folded(self._at(path)))

    def take_norm(self, path: str) -> None:
        """Make a convolution one that has taken in a BatchNorm."""
        source = self._at(path)
        if not takes_norm(source):
            raise AttnzooError(f"{type(source).__name__} cannot take in a BatchNorm")
        like: Any = source.weight
        norm = nn.BatchNorm2d(source.out_channels, device=like.device, dtype=like.dtype)  # type: ignore[arg-type]
        self.changes.put(source, with_norm(source, norm))

    def drop_norm(self, path: str) -> None:
        """Leave of a BatchNorm what it does besides normalising."""
        norm = self._at(path)
        if not isinstance(norm, nn.BatchNorm2d):
            raise AttnzooError(f"expected a BatchNorm2d, got {type(norm).__name__}")
        self.changes.put(norm, without_norm(norm))

    def _at(self, path: str) -> nn.Module:
        """The submodule of that name; of the model's attributes nothing but submodules is looked at."""
        module: nn.Module | None = self.model
        for part in path.split(".") if path else ():
            module = None if module is None else module._modules.get(part)
        if module is None:
            raise AttnzooError("the model has no such submodule; build it as the one that was saved")
        return module

    def _build(self, name: str, arguments: dict[str, Any]) -> nn.Module:
        with torch.device("meta") if self.empty else nullcontext():
            return registry.create(name, **arguments)

    def _like(self, path: str, module: nn.Module) -> nn.Module:
        """Bring a module to the device and dtype of the submodule at the path, or of the nearest around it."""
        while not self.empty:
            like = next((p for p in self._at(path).parameters() if p.is_floating_point()), None)
            if like is not None:
                return module.to(device=like.device, dtype=like.dtype)
            if not path:
                break
            path = path.rpartition(".")[0]
        return module
