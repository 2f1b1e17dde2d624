"""A variant's module into its backbone: plugged in where it keeps a map, in place of convolutions where it is one."""

from typing import Any, Final

from torch import Tensor, nn

from attnzoo import registry
from attnzoo.errors import AttnzooError
from attnzoo.lab.spelling import parse
from attnzoo.lab.trial import Variant
from attnzoo.surgery import insert, replace
from attnzoo.surgery.placement import PLACEMENTS
from attnzoo.surgery.replacement import convolves

_OURS: Final = ("model", "name", "at", "which", "identity", "example_input", "freeze", "stack", "preserve")


def place(model: nn.Module, variant: Variant, example: Tensor) -> None:
    """Put the module there, in place.

    What plugs in goes by `attnzoo.insert` where `variant.at` says, as the identity if it is `gated`.
    What stands in for a convolution goes by `attnzoo.replace`: where `variant.at` is "block", every convolution above
    1 x 1 but the first; otherwise those that match it as a glob. It takes their weights over if the variant starts
    "trained", and has those of its authors' initialisation from scratch.

    Args:
        model: the backbone.
        variant: with a module.
        example: images (N, C, H, W) that the backbone takes.

    Raises:
        AttnzooError: as `insert` and `replace`; an argument that is not the module's; a placement that has no meaning
            for a convolution.
    """
    name, arguments = parse(variant.module)
    if ours := [key for key in arguments if key in _OURS]:
        raise AttnzooError(f"{name}: {ours[0]}= is not an argument of the module here; leave it out.")
    given: dict[str, Any] = arguments
    if registry.card(name).plug_in or not convolves(name):
        insert(model, name, variant.at, gated(variant), example, **given)
    elif variant.at == "block":
        replace(model, name, _spatial(model), variant.start == "trained", **given)
    elif variant.at in PLACEMENTS:
        raise AttnzooError(
            f"{name}: stands in for convolutions; place it at block (all above 1 x 1 but the first) or by a glob such "
            f"as 'layer*.*.conv2', not at {variant.at!r}."
        )
    else:
        replace(model, name, variant.at, variant.start == "trained", **given)


def gated(variant: Variant) -> bool:
    """Whether its module plugs in under a learnt gate that starts as the identity.

    In a trained network every module does, so as not to disturb it. From scratch those do whose method adds what they
    give to their input: bare, they would have to hand on by themselves what that sum hands on for them.
    """
    card = registry.card(parse(variant.module)[0])
    return card.plug_in and (card.residual or variant.start == "trained")


def _spatial(model: nn.Module) -> list[str]:
    """The convolutions above 1 x 1, but for the first."""
    convs = [path for path, part in model.named_modules() if type(part) is nn.Conv2d and max(part.kernel_size) > 1]
    return convs[1:]
