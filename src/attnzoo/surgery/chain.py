"""Plugs that hand something on from block to block within one forward pass."""

from typing import Any

from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.surgery.plug import Plug
from attnzoo.surgery.sites import Site


class Memory:
    """What the blocks of one chain hand on; empty outside a forward pass."""

    def __init__(self) -> None:
        self.carried: tuple[Any, ...] = ()


class Link(Plug):
    """A plug of a chain: its module is called as module(x, *carried) and gives y, *carried.

    Args:
        name, module, identity, arguments, layout: as for `Plug`.
        memory: shared by the links of the chain.
        first, last: its place; a chain begins and ends with nothing carried.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        identity: bool,
        memory: Memory,
        *,
        first: bool,
        last: bool,
        arguments: dict[str, Any] | None = None,
        layout: str = "",
    ) -> None:
        super().__init__(name, module, identity, arguments, layout)
        self.memory = memory
        self.first = first
        self.last = last

    def run(self, x: Tensor) -> Tensor:
        """The module's map, with what is carried taken in and handed on."""
        y, *carried = self.module(x, *(() if self.first else self.memory.carried))
        self.memory.carried = () if self.last else tuple(carried)
        return y


def stages(places: list[Site]) -> list[list[int]]:
    """The sites, in the order in which they run, cut where the number of channels changes."""
    runs: list[list[int]] = []
    for i, site in enumerate(places):
        if i and site.channels == places[i - 1].channels:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def check_once(name: str, places: list[Site]) -> None:
    """Raise AttnzooError where a site runs several times in a pass: a chain needs an order."""
    for site in places:
        if site.calls != 1:
            raise AttnzooError(
                f"{name}: {site.path} runs {site.calls} times in a pass; a chain needs sites that run once."
            )
