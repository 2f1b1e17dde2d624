"""Networks by name: attnzoo's own, timm's (`timm:NAME` where ours has the same name), and `torchvision:NAME`."""

from typing import Final

from torch import nn

from attnzoo import registry
from attnzoo.checks import nearest
from attnzoo.errors import AttnzooError

_TORCHVISION: Final = "torchvision:"
_TIMM: Final = "timm:"


def build(name: str, num_classes: int | None, in_channels: int = 3) -> nn.Module:
    """A randomly initialised classifier; num_classes None leaves it what the network has by default.

    Raises:
        AttnzooError: the name is unknown, or the network cannot take so many channels.
    """
    _require_known(name)
    if name in registry.networks():
        classes = {} if num_classes is None else {"num_classes": num_classes}
        return registry.create(name, **classes, in_channels=in_channels)
    num_classes = 1000 if num_classes is None else num_classes
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

        name = name.removeprefix(_TIMM)
        model = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_channels)
    return model


def _require_known(name: str) -> None:
    if name in registry.networks():
        return
    if name.startswith(_TORCHVISION):
        from torchvision import models

        known = [_TORCHVISION + model for model in models.list_models(module=models)]
    else:
        import timm

        known = [*registry.networks(), *timm.list_models(), *(_TIMM + model for model in timm.list_models())]
    if name not in known:
        raise AttnzooError(
            f"unknown backbone {name!r}{nearest(name, known)} Use one of attnzoo.networks(), a timm model (timm:NAME "
            "where ours has the same name), or torchvision:NAME."
        )
