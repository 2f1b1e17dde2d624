"""Networks by name: attnzoo's own, timm's, and torchvision's as `torchvision:NAME`."""

from collections.abc import Callable
from typing import Final, NamedTuple

from torch import nn

from attnzoo.checks import nearest
from attnzoo.errors import AttnzooError
from attnzoo.networks.cifar.resnet import resnet20


class _Own(NamedTuple):
    make: Callable[..., nn.Module]
    site: str  # the submodules after which attention goes by default


_OWN: Final = {"resnet20": _Own(resnet20, "layer*.*.bn2")}
_TORCHVISION: Final = "torchvision:"


def build(name: str, num_classes: int, in_channels: int = 3) -> nn.Module:
    """A randomly initialised classifier.

    Raises:
        AttnzooError: the name is unknown, or the network cannot take so many channels.
    """
    _require_known(name)
    if name in _OWN:
        return _OWN[name].make(num_classes=num_classes, in_channels=in_channels)
    model: nn.Module
    if name.startswith(_TORCHVISION):
        from torchvision import models

        if in_channels != 3:
            raise AttnzooError(
                f"{name}: takes images of 3 channels, got {in_channels}; use resnet20 or a timm backbone."
            )
        model = models.get_model(name.removeprefix(_TORCHVISION), weights=None, num_classes=num_classes)
    else:
        import timm

        model = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_channels)
    return model


def default_site(name: str) -> str | None:
    """The glob of submodules after which attention goes by default; None for a network not ours.

    Raises:
        AttnzooError: the name is unknown.
    """
    _require_known(name)
    return _OWN[name].site if name in _OWN else None


def _require_known(name: str) -> None:
    if name in _OWN:
        return
    if name.startswith(_TORCHVISION):
        from torchvision import models

        known = [_TORCHVISION + model for model in models.list_models(module=models)]
    else:
        import timm

        known = [*_OWN, *timm.list_models()]
    if name not in known:
        raise AttnzooError(
            f"unknown backbone {name!r}{nearest(name, known)} Use resnet20, a timm model, or torchvision:NAME."
        )
