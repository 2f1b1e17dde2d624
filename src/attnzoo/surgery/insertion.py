"""insert and remove: modules after any submodule of any model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from attnzoo import registry
from attnzoo.errors import AttnzooError
from attnzoo.surgery.chain import Link, Memory, check_once, stages
from attnzoo.surgery.matching import At
from attnzoo.surgery.plug import CHILD, Plug, attach, detach
from attnzoo.surgery.probe import Seen, probe
from attnzoo.surgery.sites import Site, find, host_of


@dataclass(frozen=True)
class Report:
    """What `insert` did: the module's name, the sites it took, and the parameters that each added."""

    name: str
    sites: tuple[Site, ...]
    parameters: tuple[int, ...]

    def __str__(self) -> str:
        width = max(len(site.path) for site in self.sites)
        lines = [f"{self.name}: {len(self.sites)} plugged in, {sum(self.parameters):,} parameters"]
        lines += [
            f"  {site.path:<{width}}  {site.kind:<14} C={site.channels:<5} "
            f"{'x'.join(map(str, site.size)):>9}  +{count:,}"
            for site, count in zip(self.sites, self.parameters, strict=True)
        ]
        return "\n".join(lines)


def insert(
    model: nn.Module,
    name: str,
    at: At,
    identity: bool = True,
    example_input: Any = None,
    share: str | None = None,
    connect: bool = False,
    **arguments: Any,
) -> Report:
    """Plug one module of the registry in after every matching submodule, in place.

    The original parameter names stay, so the model's checkpoints load before and after; the new ones follow
    their host's name: 'layer1.0.bn3.attnzoo.module...'. Copying, pickling, compiling and exporting go on as
    before. Channels, and the map size where a module fixes it, are found by one probing forward pass.

    Args:
        model: any module.
        name: a module that plugs in, see `names(plug_in=True)`.
        at: after which submodules: a glob over dotted names ('layer*.*.bn3'; `*` stays within one part of the
            name, `**` crosses dots), a list of globs, or a predicate of name and submodule.
        identity: start as the identity: x + alpha * (module(x) - x) with alpha a parameter at 0. The model's
            outputs do not change at first. False puts the module there as published.
        example_input: what the model takes: a tensor, a tuple of arguments or a dict of named ones. None makes
            one image of the size the model states (timm) or 224 x 224.
        share: 'stage' lets all sites of a stage (in running order, with equal channels) share one module that
            hands its state on from block to block, as `dia` does.
        connect: give each site a module of its own that hands a message on to the next, as `dca` does.
        **arguments: of the module; its channels are filled in.

    Returns:
        A report; print it for a table.

    Raises:
        AttnzooError: the module is unknown or does not plug in, nothing matches, a match is no place for it,
            an argument is wrong, or the model does not run on the input. The model is then as it was.
    """
    card = registry.card(name)
    _check_carrying(card, share, connect)
    if not card.plug_in and not card.carries:
        raise AttnzooError(
            f"{name}: does not plug in, its contract is {card.contract!r}; see attnzoo.names(plug_in=True)."
        )
    wanted = "tokens" if card.contract == "tokens" else "feature"
    places: list[Site] = []
    given: list[Seen] = []
    for site, seen in sorted(find(model, at, example_input), key=lambda found: found[1].order if found[1] else -1):
        if isinstance(site, str) or seen is None:
            raise AttnzooError(f"{name}: cannot go there: {site}.")
        if site.contract != wanted:
            raise AttnzooError(
                f"{name}: takes {_SHAPES[wanted]}, but {site.path} gives {_SHAPES[site.contract]}, {seen.shape}."
            )
        places.append(site)
        given.append(seen)
    if card.carries:
        plugs = _chain(name, places, identity, share, arguments)
    else:
        plugs = [Plug(name, registry.create(name, **{**_given_by(s, name), **arguments}), identity) for s in places]
    for plug, seen, site in zip(plugs, given, places, strict=True):
        _settle(plug, seen, model.get_submodule(site.path))
    _attach_all(model, name, places, plugs, example_input)
    return Report(name, tuple(places), tuple(_new_parameters(plugs)))


def remove(model: nn.Module) -> None:
    """Take every plugged-in module out again: the model is exactly what it was before.

    Raises:
        AttnzooError: there is none.
    """
    hosts = [module for module in model.modules() if isinstance(getattr(module, CHILD, None), Plug)]
    if not hosts:
        raise AttnzooError("remove: the model holds no plugged-in module.")
    for host in hosts:
        detach(host)


_SHAPES = {"feature": "maps (B, C, H, W)", "tokens": "tokens (B, N, C)"}


def _check_carrying(card: registry.Card, share: str | None, connect: bool) -> None:
    if share not in (None, "stage"):
        raise AttnzooError(f"{card.name}: share={share!r} is unknown; use 'stage'.")
    if card.carries and (share is None) == (connect is False):
        raise AttnzooError(
            f"{card.name}: hands something on from block to block; give either share='stage' (one module a stage) "
            "or connect=True (one module a block)."
        )
    if not card.carries and (share or connect):
        able = ", ".join(name for name in registry.names() if registry.card(name).carries)
        raise AttnzooError(
            f"{card.name}: hands nothing on from block to block, as share= and connect= need; {able} do."
        )


def _chain(name: str, places: list[Site], identity: bool, share: str | None, arguments: dict[str, Any]) -> list[Plug]:
    """Links in running order: a chain a stage with one module, or one chain with a module a site."""
    check_once(name, places)
    plugs: list[Plug] = []
    takes_width = "prev_channels" in registry.signature(name).parameters
    for run in stages(places) if share else [list(range(len(places)))]:
        memory, module = Memory(), None
        for i in run:
            if module is None or not share:
                width = {"prev_channels": places[i - 1].channels} if takes_width and i > run[0] else {}
                module = registry.create(name, **{**_given_by(places[i], name), **width, **arguments})
            plugs.append(Link(name, module, identity, memory, first=i == run[0], last=i == run[-1]))
    return plugs


def _new_parameters(plugs: list[Plug]) -> Iterator[int]:
    """How many parameters each plug adds to those of the plugs before it."""
    known: set[int] = set()
    for plug in plugs:
        new = {id(p): p.numel() for p in plug.parameters() if id(p) not in known}
        known |= set(new)
        yield sum(new.values())


def _given_by(site: Site, name: str) -> dict[str, Any]:
    """The arguments that the site itself settles, of those the module has."""
    offered = {"channels": site.channels, "in_channels": site.channels}
    if site.contract == "feature":
        offered |= {"height": site.size[0], "width": site.size[1]}
    known = registry.signature(name).parameters
    return {key: value for key, value in offered.items() if key in known}


def _settle(plug: Plug, seen: Seen, host: nn.Module) -> None:
    """Bring the plug to its host's device, dtype and mode."""
    if seen.tensor is not None:
        like = next(host.parameters(), seen.tensor)
        plug.to(device=like.device, dtype=like.dtype)
    plug.train(host.training)


def _attach_all(model: nn.Module, name: str, places: list[Site], plugs: list[Plug], example_input: Any) -> None:
    """Attach the plugs and see in a second pass that each runs as often as its site; else undo it all."""
    hosts: list[nn.Module] = []
    try:
        for site, plug in zip(places, plugs, strict=True):
            host = host_of(model.get_submodule(site.path))
            try:
                attach(host, plug)
            except AttnzooError as error:
                raise AttnzooError(f"{name}: {site.path} {error}.") from error
            hosts.append(host)
        paths = {module: path for path, module in model.named_modules()}
        seen = probe(model, example_input)
        for site, plug in zip(places, plugs, strict=True):
            what = seen.get(paths[plug])
            if what is None or what.calls != site.calls:
                raise AttnzooError(
                    f"{name}: the model itself runs over the children of {site.path}, which a plug there would "
                    "join; take one of these children instead."
                )
    except BaseException:
        for host in hosts:
            detach(host)
        raise
