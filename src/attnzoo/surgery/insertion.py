"""insert and remove: modules after any submodule of any model."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from attnzoo import checks, registry
from attnzoo.errors import AttnzooError
from attnzoo.surgery.building import built, new_parameters, settle
from attnzoo.surgery.finetuning import freeze_backbone, unfreeze
from attnzoo.surgery.flow import Call
from attnzoo.surgery.hosts import host_of
from attnzoo.surgery.layout import LAYOUTS, conversion, taken_by
from attnzoo.surgery.matching import At
from attnzoo.surgery.placement import PLACEMENTS
from attnzoo.surgery.plug import CHILD, Plug, attach, detach, last_plug
from attnzoo.surgery.probe import count_runs
from attnzoo.surgery.sites import Found, Site, find, shortened


@dataclass(frozen=True)
class Report:
    """What `insert` did. Print it for a table.

    Attributes:
        name: the module's.
        sites: where it was plugged in.
        parameters: how many each of them added.
        left_out: where a placement would have put it, too, and why it cannot go there.
    """

    name: str
    sites: tuple[Site, ...]
    parameters: tuple[int, ...]
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        width = max(len(site.path) for site in self.sites)
        lines = [f"{self.name}: {len(self.sites)} plugged in, {sum(self.parameters):,} parameters"]
        lines += [
            f"  {site.path:<{width}}  {site.kind:<14} C={site.channels:<5} "
            f"{'x'.join(map(str, site.size)):>9} {site.layout:<4}  +{count:,}"
            for site, count in zip(self.sites, self.parameters, strict=True)
        ]
        return "\n".join(lines + [f"  left out: {line}" for line in shortened(self.left_out)])


def insert(
    model: nn.Module,
    name: str,
    at: At = "block",
    identity: bool = True,
    example_input: Any = None,
    share: str | None = None,
    connect: bool = False,
    freeze: str | None = None,
    stack: bool = False,
    **arguments: Any,
) -> Report:
    """Plug one module of the registry in after every matching submodule, in place.

    The original parameter names stay, so the model's checkpoints load before and after; the new ones follow
    their host's name: 'layer1.0.bn3.attnzoo.module...'. Copying, pickling, compiling and exporting go on as
    before. Channels, and the map size where a module fixes it, are found by one probing forward pass. Maps with
    their channels last (B, H, W, C) are permuted for modules that take (B, C, H, W), and flattened for those that
    take tokens.

    Args:
        model: any module.
        name: a module that plugs in, see `names(plug_in=True)`.
        at: after which submodules: a placement ('block', the end of every residual branch, 'stage', 'last' or
            'expansion'; sites that do not fit the module are left out), a glob over dotted names ('layer*.*.bn3';
            `*` stays within one part of the name, `**` crosses dots), a list of globs, or a predicate of name and
            submodule. `sites` tells more, and shows what will be found.
        identity: start as the identity: x + alpha * (module(x) - x) with alpha a parameter at 0. The model's
            outputs do not change at first. False puts the module there as published.
        example_input: what the model takes: a tensor, a tuple of arguments or a dict of named ones. None makes
            one image of the size the model states (timm) or 224 x 224.
        share: 'stage' lets all sites of a stage (in running order, with equal channels) share one module that
            hands its state on from block to block, as `dia` does.
        connect: give each site a module of its own that hands a message on to the next, as `dca` does.
        freeze: 'backbone' trains only what was plugged in or replaced: every other parameter no longer requires a
            gradient, and BatchNorms with frozen weights normalise with their running statistics, which stand
            still, in training mode too. A new classifier is unfrozen with `model.fc.requires_grad_(True)`.
        stack: at sites that hold a plug already, put the new one after it; both leave together.
        **arguments: of the module; its channels are filled in.

    Returns:
        A report; print it for a table.

    Raises:
        AttnzooError: the module is unknown or does not plug in, nothing matches, a match is no place for it,
            an argument is wrong, or the model does not run on the input. The model is then as it was.
    """
    card = registry.card(name)
    _check_carrying(card, share, connect)
    if freeze is not None:
        checks.choice(name, ("backbone",), freeze=freeze)
    if not card.plug_in and not card.carries:
        raise AttnzooError(
            f"{name}: does not plug in, its contract is {card.contract!r}; see attnzoo.names(plug_in=True)."
        )
    found = find(model, at, example_input)
    places, given, unfit = _fitting(card, found)
    if unfit and (not places or not _by_meaning(at)):
        raise AttnzooError(f"{name}: cannot go there: {unfit[0]}.")
    plugs = built(card, places, identity, share, arguments)
    for plug, call, site in zip(plugs, given, places, strict=True):
        settle(plug, call, model.get_submodule(site.path))
    _attach_all(model, name, places, plugs, example_input, stack)
    if freeze is not None:
        freeze_backbone(model)
    return Report(name, tuple(places), tuple(new_parameters(plugs)), tuple(unfit))


def remove(model: nn.Module) -> None:
    """Take every plugged-in module out again: the model is exactly what it was before, also what was frozen.

    Raises:
        AttnzooError: there is none.
    """
    hosts = [module for module in model.modules() if isinstance(getattr(module, CHILD, None), Plug)]
    if not hosts:
        raise AttnzooError("remove: the model holds no plugged-in module.")
    for host in hosts:
        detach(host)
    unfreeze(model)


def _by_meaning(at: At) -> bool:
    return isinstance(at, str) and at in PLACEMENTS


def _fitting(card: registry.Card, found: Found) -> tuple[list[Site], list[Call], list[str]]:
    """The sites that fit a module, their first runs, and why others do not."""
    takes = taken_by(card.contract)
    fits = [(site, call) for site, call in found.sites if conversion(site.layout, takes) is not None]
    unfit = found.left_out + [
        f"{site.path} gives {LAYOUTS[site.layout]}, {call.shape}, but {card.name} takes {LAYOUTS[takes]}; choose a "
        f"module whose contract is {site.contract!r}"
        for site, call in found.sites
        if conversion(site.layout, takes) is None
    ]
    return [site for site, _ in fits], [call for _, call in fits], unfit


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


def _attach_all(
    model: nn.Module, name: str, places: list[Site], plugs: list[Plug], example_input: Any, stack: bool
) -> None:
    """Attach the plugs and see in a second pass that each runs as often as its site; else undo it all."""
    hosts: list[nn.Module] = []
    runs: dict[nn.Module, int] = dict.fromkeys(plugs, 0)
    try:
        for site, plug in zip(places, plugs, strict=True):
            host = host_of(model.get_submodule(site.path))
            host = last_plug(host) if stack else host
            try:
                attach(host, plug)
            except AttnzooError as error:
                raise AttnzooError(f"{name}: {site.path} {error}.") from error
            hosts.append(host)
        try:
            count_runs(model, runs, example_input)
        except AttnzooError as error:
            idle = (site.path for site, plug in zip(places, plugs, strict=True) if not runs[plug])
            where = next(idle, places[-1].path)
            raise AttnzooError(f"{name}: does not run after {where}: {error.__cause__}") from error
        for site, plug in zip(places, plugs, strict=True):
            if runs[plug] != site.calls:
                raise AttnzooError(
                    f"{name}: the model itself runs over the children of {site.path}, which a plug there would "
                    "join; take one of these children instead."
                )
    except BaseException:
        for host in hosts:
            detach(host)
        raise
