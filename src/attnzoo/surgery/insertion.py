"""insert and remove: modules after any submodule of any model."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from attnzoo import registry
from attnzoo.errors import AttnzooError
from attnzoo.surgery.plug import CHILD, Plug, attach, detach
from attnzoo.surgery.probe import Seen, probe
from attnzoo.surgery.sites import At, Site, find, host_of


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
        **arguments: of the module; its channels are filled in.

    Returns:
        A report; print it for a table.

    Raises:
        AttnzooError: the module is unknown or does not plug in, nothing matches, a match is no place for it,
            an argument is wrong, or the model does not run on the input. The model is then as it was.
    """
    card = registry.card(name)
    if not card.plug_in:
        raise AttnzooError(
            f"{name}: does not plug in, its contract is {card.contract!r}; see attnzoo.names(plug_in=True)."
        )
    wanted = "tokens" if card.contract == "tokens" else "feature"
    places: list[Site] = []
    plugs: list[Plug] = []
    for site, seen in find(model, at, example_input):
        if isinstance(site, str) or seen is None:
            raise AttnzooError(f"{name}: cannot go there: {site}.")
        if site.contract != wanted:
            raise AttnzooError(
                f"{name}: takes {_SHAPES[wanted]}, but {site.path} gives {_SHAPES[site.contract]}, {seen.shape}."
            )
        module = registry.create(name, **{**_given_by(site, name), **arguments})
        places.append(site)
        plugs.append(_settle(Plug(name, module, identity), seen, model.get_submodule(site.path)))
    _attach_all(model, name, places, plugs, example_input)
    counts = tuple(sum(p.numel() for p in plug.parameters()) for plug in plugs)
    return Report(name, tuple(places), counts)


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


def _given_by(site: Site, name: str) -> dict[str, Any]:
    """The arguments that the site itself settles, of those the module has."""
    offered = {"channels": site.channels, "in_channels": site.channels}
    if site.contract == "feature":
        offered |= {"height": site.size[0], "width": site.size[1]}
    known = registry.signature(name).parameters
    return {key: value for key, value in offered.items() if key in known}


def _settle(plug: Plug, seen: Seen, host: nn.Module) -> Plug:
    """Bring the plug to its host's device, dtype and mode."""
    if seen.tensor is not None:
        like = next(host.parameters(), seen.tensor)
        plug.to(device=like.device, dtype=like.dtype)
    return plug.train(host.training)


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
