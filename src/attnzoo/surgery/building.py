"""Making the modules that are plugged in, fitted to their sites."""

import inspect
import math
from collections.abc import Iterator
from typing import Any

from torch import nn

from attnzoo import registry
from attnzoo.surgery.chain import Link, Memory, check_once, stages
from attnzoo.surgery.flow import Call
from attnzoo.surgery.layout import conversion, taken_by
from attnzoo.surgery.plug import Plug
from attnzoo.surgery.sites import Site


def built(
    card: registry.Card, places: list[Site], identity: bool, share: str | None, arguments: dict[str, Any]
) -> list[Plug]:
    """A plug for each site, in running order.

    Raises:
        AttnzooError: an argument is wrong, or a chain's site runs several times.
    """
    if card.carries:
        return _chain(card, places, identity, share, arguments)
    plugs = []
    for site in places:
        given = {**_given_by(site, card, arguments), **arguments}
        plugs.append(Plug(card.name, registry.create(card.name, **given), identity, given, _layout(site, card)))
    return plugs


def settle(plug: Plug, call: Call, host: nn.Module) -> None:
    """Bring the plug to its host's device, dtype and mode; to those of its output where the host has no weights."""
    like: Any = next((p for p in host.parameters() if p.is_floating_point()), call)
    plug.to(device=like.device, dtype=like.dtype)
    plug.train(host.training)


def new_parameters(plugs: list[Plug]) -> Iterator[int]:
    """How many parameters each plug adds to those of the plugs before it."""
    known: set[int] = set()
    for plug in plugs:
        new = {id(p): p.numel() for p in plug.parameters() if id(p) not in known}
        known |= set(new)
        yield sum(new.values())


def _chain(
    card: registry.Card, places: list[Site], identity: bool, share: str | None, arguments: dict[str, Any]
) -> list[Plug]:
    """Links in running order: a chain a stage with one module, or one chain with a module a site."""
    name = card.name
    check_once(name, places)
    plugs: list[Plug] = []
    takes_width = "prev_channels" in registry.signature(name).parameters
    for run in stages(places) if share else [list(range(len(places)))]:
        memory, module, given = Memory(), None, {}
        for i in run:
            if module is None or not share:
                width = {"prev_channels": places[i - 1].channels} if takes_width and i > run[0] else {}
                given = {**_given_by(places[i], card, arguments), **width, **arguments}
                module = registry.create(name, **given)
            ends = {"first": i == run[0], "last": i == run[-1]}
            layout = _layout(places[i], card)
            plugs.append(Link(name, module, identity, memory, **ends, arguments=given, layout=layout))
    return plugs


def _layout(site: Site, card: registry.Card) -> str:
    return conversion(site.layout, taken_by(card.contract)) or ""


def _given_by(site: Site, card: registry.Card, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the site itself settles, of those the module has."""
    known = registry.signature(card.name).parameters
    offered: dict[str, Any] = dict.fromkeys(("channels", "in_channels", "out_channels"), site.channels)
    offered["num_tokens"] = math.prod(site.size)
    if site.contract == "feature":
        height, width = site.size
        offered |= {"size": (height, width), "feat_size": (height, width)}
        if known.keys() >= {"height", "width"}:
            offered |= {"height": height, "width": width}
        if "size" in known and known["size"].annotation is int:  # of the one axis that the module works along
            offered["size"] = width if arguments.get("axis") == "width" else height
        if "spatial_size" in known and known["spatial_size"].default is inspect.Parameter.empty:
            offered["spatial_size"] = (height, width)  # an optional one switches on a part of the method
    return {key: value for key, value in offered.items() if key in known}
