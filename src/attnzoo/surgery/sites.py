"""Where in a model a module can be plugged in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from attnzoo.errors import AttnzooError
from attnzoo.surgery.flow import Call, Flow, follow
from attnzoo.surgery.hosts import can_host
from attnzoo.surgery.layout import LAYOUTS, layout_of
from attnzoo.surgery.matching import At, match
from attnzoo.surgery.placement import PLACEMENTS, Place
from attnzoo.surgery.plug import CHILD


@dataclass(frozen=True)
class Site:
    """A submodule after which a module can be plugged in.

    Attributes:
        path: its name in the model.
        kind: its class.
        contract: 'feature' for maps, 'tokens' for tokens.
        channels: C.
        size: (H, W) of a map, (N,) of tokens, for the input of the probing pass.
        calls: how often it runs in a forward pass.
        layout: where its channels are: 'BCHW' or 'BHWC' for maps, 'BNC' or 'BCN' for tokens.
        placements: by which placements it was found; none for one found by its name.
        reason: what makes it a place of these.
    """

    path: str
    kind: str
    contract: str
    channels: int
    size: tuple[int, ...]
    calls: int
    layout: str
    placements: tuple[str, ...] = ()
    reason: str = ""


class Sites(list[Site]):
    """A list of sites. Print it for a table.

    Attributes:
        left_out: why something that was looked for is no site.
    """

    def __init__(self, found: Iterable[Site] = (), left_out: Iterable[str] = ()) -> None:
        super().__init__(found)
        self.left_out = tuple(left_out)

    def __repr__(self) -> str:
        rows = [
            (site.path, site.kind, f"C={site.channels}", "x".join(map(str, site.size)), site.layout)
            + ((", ".join(site.placements), site.reason) if site.placements else ())
            for site in self
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=False)]
        lines = [f"{len(self)} sites"]
        lines += [
            "  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=False)).rstrip() for row in rows
        ]
        return "\n".join(lines + [f"  left out: {line}" for line in shortened(self.left_out)])

    __str__ = __repr__


def shortened(lines: tuple[str, ...], most: int = 3) -> list[str]:
    """The first few of many lines, and how many more there are."""
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return [*lines[:most], *more]


def sites(model: nn.Module, at: At | None = None, example_input: Any = None) -> Sites:
    """The submodules after which a module can be plugged in, found by following one forward pass.

    Args:
        model: any module; it is left as it was.
        at: which ones. A placement, found from how the tensors of the pass come about:
            'block', the end of every residual branch, before the addition and any layer scale or drop path;
            'stage', the last features of each resolution of the encoder; 'last', the last of these;
            'expansion', inside inverted bottlenecks and MLPs, the widest features before they are narrowed.
            Or names: a glob over dotted names ('layer*.*.bn3'; `*` stays within one part of the name, `**` crosses
            dots), a list of globs (one that is called like a placement goes into a list), or a predicate of name and
            submodule. None looks for all four placements.
        example_input: what the model takes, see `insert`.

    Returns:
        A list of sites in the order in which they run; print it for a table.

    Raises:
        AttnzooError: nothing matches, the placement has no meaning in this model, or it does not run on the input.
    """
    found = find(model, at, example_input)
    return Sites((site for site, _ in found.sites), found.left_out)


@dataclass(frozen=True)
class Found:
    """Sites, each with the first run of its submodule, and the reasons why others are none."""

    sites: list[tuple[Site, Call]]
    left_out: list[str]


def find(model: nn.Module, at: At | None, example_input: Any = None) -> Found:
    """As `sites`, with what was seen of each.

    Raises:
        AttnzooError: nothing matches, the placement has no meaning in this model, or it does not run on the input.
    """
    flow = follow(model, example_input)
    runs: dict[str, list[Call]] = {}
    for call in flow.calls:
        runs.setdefault(call.path, []).append(call)
    named = {path: module for path, module in model.named_modules() if path and CHILD not in path.split(".")}
    order = {path: number for number, path in enumerate(runs)}
    if at is None or (isinstance(at, str) and at in PLACEMENTS):
        found = _placed(flow, at, named, runs)
    else:
        usable = [path for path in runs if path in named and any(len(call.shape or ()) > 2 for call in runs[path])]
        try:
            paths = match(named, at, "at", usable)
        except AttnzooError as error:
            raise AttnzooError(f"{error} Or say what is meant: {', '.join(map(repr, PLACEMENTS))}.") from None
        judged = [(path, _judge(flow, path, named[path], runs.get(path, []))) for path in paths]
        found = Found(
            [(site, runs[path][0]) for path, site in judged if isinstance(site, Site)],
            [site for _, site in judged if isinstance(site, str)],
        )
    found.sites.sort(key=lambda one: order[one[0].path])
    return found


def _placed(flow: Flow, at: str | None, named: dict[str, nn.Module], runs: dict[str, list[Call]]) -> Found:
    """The sites of one placement, or of all, each submodule once."""
    wanted = list(PLACEMENTS) if at is None else [at]
    sites: dict[str, Site] = {}
    left_out: list[str] = []
    for name in wanted:
        for site in _of_placement(flow, name, named, runs):
            if isinstance(site, str):
                left_out.append(site)
            else:
                before = sites.get(site.path)
                sites[site.path] = site if before is None else _joined(before, site)
    if not sites:
        reasons = shortened(tuple(left_out)) or list(dict.fromkeys(PLACEMENTS[name].none for name in wanted))
        counts = {
            name: sum(isinstance(site, Site) for site in _of_placement(flow, name, named, runs)) for name in PLACEMENTS
        }
        others = ", ".join(f"{name!r} ({count})" for name, count in counts.items() if count)
        what = "no placement has a meaning" if at is None else f"at={at!r} has no meaning"
        raise AttnzooError(
            f"{what} in this model: {'; '.join(reasons)}. {f'It has {others}; or name' if others else 'Name'} "
            "submodules by a glob, a list or a predicate."
        )
    return Found([(site, runs[path][0]) for path, site in sites.items()], left_out)


def _of_placement(
    flow: Flow, name: str, named: dict[str, nn.Module], runs: dict[str, list[Call]]
) -> Iterator[Site | str]:
    """The sites of a placement, each submodule once, and why others are none."""
    seen: set[str] = set()
    for place in PLACEMENTS[name].find(flow):
        if isinstance(place, str):
            yield place
        elif place.path not in seen:
            seen.add(place.path)
            yield _at_place(flow, place, name, named, runs)


def _at_place(
    flow: Flow, place: Place, name: str, named: dict[str, nn.Module], runs: dict[str, list[Call]]
) -> Site | str:
    site = _judge(flow, place.path, named[place.path], runs[place.path], place.axis)
    if isinstance(site, str):
        return site
    if site.channels == 1:
        return f"{place.path} gives a single channel"
    return replace(site, placements=(name,), reason=place.reason)


def _joined(one: Site, other: Site) -> Site:
    """A site found by two placements."""
    return replace(one, placements=one.placements + other.placements, reason=f"{one.reason}; {other.reason}")


def _judge(flow: Flow, path: str, module: nn.Module, calls: list[Call], axis: int | None = None) -> Site | str:
    """The site that a submodule is, or why it is none."""
    if not calls:
        return f"{path} does not run in a forward pass"
    if not can_host(module):
        return f"{path} is a container that runs over its own children; take the last of them"
    shape = calls[0].shape
    if shape is None or any(call.shape is None for call in calls):
        return f"{path} gives no single tensor"
    if len(shape) not in (3, 4):
        return f"{path} gives {shape}, neither a map (B, C, H, W) nor tokens (B, N, C)"
    if axis is None and calls[0].gives is not None:
        axis = flow.steps[calls[0].gives].axis
    axis = {3: 2, 4: 1}[len(shape)] if axis is None else axis
    if any(len(call.shape or ()) != len(shape) or call.shape[axis] != shape[axis] for call in calls):  # type: ignore[index]
        return f"{path} runs {len(calls)} times, with different numbers of channels"
    layout = layout_of(len(shape), axis)
    if layout is None:
        return f"{path} gives {shape} with the channels in dimension {axis}, which is none of {', '.join(LAYOUTS)}"
    contract = "feature" if len(shape) == 4 else "tokens"
    size = tuple(n for i, n in enumerate(shape) if i not in (0, axis))
    return Site(path, type(module).__name__, contract, shape[axis], size, len(calls), layout)
