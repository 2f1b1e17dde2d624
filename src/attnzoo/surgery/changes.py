"""Submodules exchanged and modules plugged in, with the way back."""

from collections.abc import Callable

from torch import nn

from attnzoo.surgery.hosts import host_of
from attnzoo.surgery.plug import CHILD, Plug, attach, detach


class Changes:
    """Changes a model step by step, and undoes all of it on request."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._back: list[Callable[[], None]] = []

    def put(self, old: nn.Module, new: nn.Module) -> None:
        """Put `new` wherever `old` stands, in its mode; a plug after it moves along."""
        new.train(old.training)
        plug = getattr(old, CHILD, None)
        if isinstance(plug, Plug):
            if isinstance(getattr(new, CHILD, None), Plug):  # a copy, where the new module was copied from the old one
                detach(new)
            self._move(plug, old, host_of(new))
        self._exchange(old, new)
        self._back.append(lambda: self._exchange(new, old))

    def attach(self, host: nn.Module, plug: Plug) -> None:
        """Plug in after `host`; AttnzooError as `plug.attach`."""
        attach(host, plug)
        self._back.append(lambda: detach(host))

    def undo(self) -> None:
        """Make the model what it was."""
        while self._back:
            self._back.pop()()

    def _move(self, plug: Plug, old: nn.Module, new: nn.Module) -> None:
        def move(plug: Plug, source: nn.Module, target: nn.Module) -> None:
            detach(source)
            attach(target, plug)

        move(plug, old, new)
        self._back.append(lambda: move(plug, new, old))

    def _exchange(self, old: nn.Module, new: nn.Module) -> None:
        for path in [path for path, module in self.model.named_modules(remove_duplicate=False) if module is old]:
            self.model.set_submodule(path, new)
