"""The registry: one dict from a module's name to its class and card."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from torch import nn

from attnzoo import checks
from attnzoo.checks import nearest
from attnzoo.errors import AttnzooError

CONTRACTS: Final = ("feature", "conv", "context", "tokens", "fusion", "activation", "head", "loss", "network")
FAMILIES: Final = (
    "channel",
    "spatial",
    "channel_spatial",
    "self_attention",
    "convolution",
    "activation",
    "fusion",
    "context",
    "head",
    "regularization",
    "network",
)


@dataclass(frozen=True)
class Paper:
    """Where a method was published."""

    title: str
    authors: str
    venue: str
    year: int
    url: str


@dataclass(frozen=True)
class Card:
    """What there is to know about a module besides its code.

    Attributes:
        name: the registry name, also the stem of its file and of its vectors.
        title: the method's name in words.
        family: the folder it lives in.
        contract: what goes in and out, one of `CONTRACTS`.
        paper, authors, venue, year, url: the publication.
        source: the repository and commit that the reference numbers come from, or 'paper'.
        source_license: the licence found at the root of that repository, a fact about it, not about us.
        summary, summary_zh: two sentences, in English and Chinese.
        placement: where the authors put it.
        reported: headline figures of the authors, with their setting.
        differences: how other implementations, or paper and code, differ from this one.
        plug_in: whether the module, built for C channels, returns its input's shape and dtype.
        residual: whether the method adds what the module gives to what it was given, in a sum outside of the module.
        carries: forward takes more than x and gives more than a map: (x, *carried) -> (y, *carried), handed on
            from block to block, see `attnzoo.insert`.
        inert: parameters (globs of their names) that cannot change the output, by the method's own design.
        not_applicable: checks of the deployment matrix that make no sense here, each with its reason.
        example: arguments that the constructor needs beyond the contract's own, for examples and checks.
        settled: arguments that follow from what forward is given in examples and checks, which leave them be.
        min_size: the least height and width that the method takes.
        min_pixels: the least number of pixels, where a map of the least height and width has too few.
        inputs: shapes of forward's arguments where they are more than the contract's one, as in
            'B C H W': letters, numbers and products such as 2*H; K is any number of boxes or regions; 'B <C' are
            indices from 0 up to below C.
        frameworks: where the module exists.
    """

    name: str
    title: str
    family: str
    contract: str
    paper: str
    authors: str
    venue: str
    year: int
    url: str
    source: str
    source_license: str
    summary: str
    summary_zh: str
    placement: str
    reported: str
    differences: tuple[str, ...]
    plug_in: bool
    residual: bool = False
    carries: bool = False
    inert: tuple[str, ...] = ()
    not_applicable: dict[str, str] = field(default_factory=dict)
    example: dict[str, Any] = field(default_factory=dict)
    settled: tuple[str, ...] = ()
    min_size: int = 1
    min_pixels: int = 1
    inputs: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ("torch",)


@dataclass(frozen=True)
class NetworkCard(Card):
    """What there is to know about a whole network.

    Attributes:
        parameters: how many it has as its defaults build it.
        macs: multiply-adds for one image of its published size, in millions.
        image_size: the height and width of the images that it was published for.
        task: what its output is, one of `TASKS`.
        multiple_of: what the height and width of its images are multiples of.
    """

    parameters: int = 0
    macs: float = 0.0
    image_size: int = 224
    task: str = "classification"
    multiple_of: int = 1


TASKS: Final = {
    "classification": "logits (B, K), or the maps of its stages",
    "segmentation": "logits (B, K, H, W), or the maps of its stages",
    "detection": "what finds objects",
    "matting": "an alpha map (B, 1, H, W)",
}
_BY_CONTRACT: Final = {
    "loss": {"batch-independent": "a loss is one number for the whole batch"},
}


class _Entry(NamedTuple):
    card: Card
    make: type[nn.Module]


class _Network(NamedTuple):
    card: NetworkCard
    make: Callable[..., nn.Module]


_REGISTRY: dict[str, _Entry] = {}
_NETWORKS: dict[str, _Network] = {}
_Module = TypeVar("_Module", bound=type[nn.Module])
_Make = TypeVar("_Make", bound=Callable[..., nn.Module])


def register(
    name: str,
    *,
    paper: Paper,
    contract: str,
    plug_in: bool | None = None,
    residual: bool | None = None,
    **facts: Any,
) -> Callable[[_Module], _Module]:
    """Enter the decorated class under `name`; its family is the folder of its file.

    Unless given, `plug_in` follows from the contract (feature and tokens are), and so does `residual` (tokens are, as
    self-attention is). From now on the constructor refuses arguments of another type than it declares.

    Raises:
        AttnzooError: the name is taken, or the contract or the folder is none that we know.
    """

    def enter(make: _Module) -> _Module:
        family = make.__module__.split(".")[-2]
        _require_free(name)
        if contract not in CONTRACTS:
            raise AttnzooError(f"{name}: contract={contract!r} is unknown; use one of {', '.join(CONTRACTS)}.")
        if family not in FAMILIES:
            raise AttnzooError(f"{name}: its folder {family!r} is no family; use one of {', '.join(FAMILIES)}.")
        card = Card(
            name=name,
            family=family,
            contract=contract,
            paper=paper.title,
            authors=paper.authors,
            venue=paper.venue,
            year=paper.year,
            url=paper.url,
            plug_in=contract in ("feature", "tokens") if plug_in is None else plug_in,
            residual=contract == "tokens" if residual is None else residual,
            not_applicable={**_BY_CONTRACT.get(contract, {}), **facts.pop("not_applicable", {})},
            **facts,
        )
        _REGISTRY[name] = _Entry(card, make)
        checks.check_types(name, make)
        return make

    return enter


def register_network(
    name: str,
    *,
    paper: Paper,
    parameters: int,
    macs: float,
    image_size: int,
    task: str = "classification",
    **facts: Any,
) -> Callable[[_Make], _Make]:
    """Enter the decorated function, which builds a whole network, under `name`.

    `create` and `card` know it from now on, and `networks` lists it; `names` lists modules only.

    Raises:
        AttnzooError: the name is taken, or the task is none that we know.
    """

    def enter(make: _Make) -> _Make:
        _require_free(name)
        if task not in TASKS:
            raise AttnzooError(f"{name}: task {task!r} is not one of: {', '.join(TASKS)}.")
        card = NetworkCard(
            name=name,
            family="network",
            contract="network",
            paper=paper.title,
            authors=paper.authors,
            venue=paper.venue,
            year=paper.year,
            url=paper.url,
            placement=f"A whole network: images in, {TASKS[task]} out.",
            plug_in=False,
            parameters=parameters,
            macs=macs,
            image_size=image_size,
            task=task,
            **facts,
        )
        _NETWORKS[name] = _Network(card, make)
        return make

    return enter


def networks() -> list[str]:
    """The names of the whole networks, sorted."""
    return sorted(_NETWORKS)


def names(family: str | None = None, plug_in: bool | None = None) -> list[str]:
    """The registered names, sorted; of one family, or only those that plug in (or do not), if asked.

    Raises:
        AttnzooError: the family is unknown.
    """
    if family is not None and family not in FAMILIES:
        raise AttnzooError(f"unknown family {family!r}{nearest(family, FAMILIES)} Known: {', '.join(FAMILIES)}.")
    return sorted(
        name
        for name, (card, _) in _REGISTRY.items()
        if family in (None, card.family) and plug_in in (None, card.plug_in)
    )


def card(name: str) -> Card:
    """The card of a module, or of a network.

    Raises:
        AttnzooError: the name is unknown; the message suggests the nearest ones.
    """
    return _entry_of_any(name).card


def paper_of(name: str) -> Paper:
    """The publication that a card names.

    Raises:
        AttnzooError: the name is unknown.
    """
    known = card(name)
    return Paper(known.paper, known.authors, known.venue, known.year, known.url)


def signature(name: str) -> inspect.Signature:
    """The constructor's arguments, without `self`."""
    return inspect.signature(_entry_of_any(name).make)


def constructor(name: str) -> Callable[..., None]:
    """The constructor itself."""
    return _entry(name).make.__init__


def module_class(name: str) -> type[nn.Module]:
    """The class of a module."""
    return _entry(name).make


def classes(contract: str) -> tuple[type[nn.Module], ...]:
    """The classes of all modules of a contract."""
    return tuple(make for card, make in _REGISTRY.values() if card.contract == contract)


def docstring(name: str) -> str:
    """The page of a module: arguments, shapes, cost and errors."""
    return _entry_of_any(name).make.__doc__ or ""


def create(name: str, **arguments: Any) -> nn.Module:
    """Build a module, or a network, by its name.

    Raises:
        AttnzooError: the name or an argument is unknown, an argument is missing, or its value is wrong.
    """
    make = _entry_of_any(name).make
    check_arguments(name, arguments)
    if name in _NETWORKS:
        checks.argument_types(name, make, arguments)
    return make(**arguments)


def check_arguments(name: str, arguments: Mapping[str, Any], filled: Collection[str] = ()) -> None:
    """Refuse arguments that a module or network does not take, or that miss what it needs; `filled` will be given.

    Raises:
        AttnzooError: the name or an argument is unknown, or an argument is missing.
    """
    known = signature(name).parameters
    takes = f"It takes {', '.join(known)}."
    for given in arguments:
        if given not in known:
            raise AttnzooError(f"{name}: unknown argument {given!r}{nearest(given, known)} {takes}")
    for needed, parameter in known.items():
        if parameter.default is parameter.empty and needed not in arguments and needed not in filled:
            raise AttnzooError(f"{name}: the argument {needed!r} is missing. {takes}")


def _entry(name: str) -> _Entry:
    if name not in _REGISTRY:
        known = (*_REGISTRY, *_NETWORKS)
        raise AttnzooError(f"unknown module {name!r}{nearest(name, known)} See attnzoo.names() and attnzoo.networks().")
    return _REGISTRY[name]


def _entry_of_any(name: str) -> _Entry | _Network:
    return _NETWORKS[name] if name in _NETWORKS else _entry(name)


def _require_free(name: str) -> None:
    for taken in (_REGISTRY, _NETWORKS):
        if name in taken:
            raise AttnzooError(f"{name}: taken by {taken[name].make.__qualname__}; choose another name.")
