"""What a comparison trains: modules x placements x backbones x starts, checked to fit before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from attnzoo import registry
from attnzoo.errors import AttnzooError
from attnzoo.lab.building import build
from attnzoo.lab.spelling import parse, spelled
from attnzoo.lab.trial import PLAIN, Trial, Variant

ALL: Final = "all"
_NAMED: Final = 12  # as many misfits are told in full


@dataclass(frozen=True)
class Plan:
    """The variants of a comparison.

    Attributes:
        parameters: of every variant that starts from scratch, how many; plain ones first, in the order of the table.
        misfits: of every variant that was left out, why.
        from_trained: whether each is also put into a trained network.
    """

    parameters: Mapping[Variant, int]
    misfits: Mapping[Variant, str]
    from_trained: bool

    @property
    def bases(self) -> tuple[Variant, ...]:
        """The plain networks that others start from."""
        plain = [variant for variant in self.parameters if variant.plain]
        return tuple(replace(variant, start="base") for variant in plain if self.from_trained)

    @property
    def rows(self) -> tuple[Variant, ...]:
        """All that is compared, controls aside."""
        starts = ("scratch", "trained") if self.from_trained else ("scratch",)
        return tuple(replace(variant, start=start) for variant in self.parameters for start in starts)


def plan(
    names: Sequence[str],
    backbones: Sequence[str],
    places: Sequence[str],
    shape: tuple[int, int, int],
    classes: int,
    from_trained: bool = False,
    skip_unfit: bool = False,
) -> Plan:
    """Every module at every place in every backbone, and the plain backbones.

    Args:
        names: modules that plug in, with arguments where wanted, 'se(reduction=8)', or ALL of them.
        backbones: networks as in `attnzoo.lab.backbones`.
        places: where, by meaning or as globs, see `attnzoo.insert`.
        shape: (C, H, W) of an image.
        classes: K.
        from_trained: also put each into a trained network.
        skip_unfit: leave out what does not fit instead of refusing.

    Raises:
        AttnzooError: an unknown module or backbone, a backbone that does not take such images, or modules that do not
            fit; the message names each with its reason.
    """
    modules = _modules(names)
    parameters: dict[Variant, int] = {}
    misfits: dict[Variant, str] = {}
    for backbone in _once("backbone", backbones):
        plain = Variant(backbone=backbone)
        parameters[plain] = _count(plain, shape, classes)
        for module, place in product(modules, _once("at", places)):
            variant = Variant(module, backbone, place)
            try:
                parameters[variant] = _count(variant, shape, classes)
            except AttnzooError as error:
                misfits[variant] = str(error)
    left = [variant for variant in parameters if not variant.plain]
    if misfits and not (skip_unfit and left):
        told = [f"{variant}: {reason}" for variant, reason in list(misfits.items())[:_NAMED]]
        more = [f"and {len(misfits) - _NAMED} more"] if len(misfits) > _NAMED else []
        todo = "leave them out by --skip-unfit, or change --at or --backbone" if left else "nothing is left to compare"
        count = f"{len(misfits)} of {len(left) + len(misfits)} variants do not fit; {todo}"
        raise AttnzooError(f"compare: {count}. {' | '.join(told + more)}")
    return Plan(parameters, misfits, from_trained)


def _modules(names: Sequence[str]) -> list[str]:
    """Each module once as `spelled`, or AttnzooError where a name is unknown."""
    known = registry.names(plug_in=True)
    modules = [name for given in names for name in (known if given == ALL else [given])]
    modules = list(dict.fromkeys(spelled(name) for name in modules if name != PLAIN))
    for name in modules:
        registry.card(parse(name)[0])
    if not modules:
        raise AttnzooError("compare: names is empty; give at least one of attnzoo.names(plug_in=True), or 'all'.")
    return modules


def _once(option: str, values: Sequence[str]) -> list[str]:
    found = list(dict.fromkeys(value.strip() for value in values))
    if not found or not all(found):
        raise AttnzooError(f"compare: {option}={list(values)} holds nothing or an empty word; give names with commas.")
    return found


def _count(variant: Variant, shape: tuple[int, int, int], classes: int) -> int:
    model = build(Trial(variant, 0), shape, classes)
    return sum(parameter.numel() for parameter in model.parameters())
