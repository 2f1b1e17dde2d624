"""Our modules as the layers that other libraries' blocks are made with."""

from dataclasses import dataclass, field
from typing import Any, Final

from torch import nn

from attnzoo import registry
from attnzoo.errors import AttnzooError

_CHANNELS: Final = ("channels", "in_channels", "out_channels")  # all one number where a module keeps the map's shape
_WIDTHS: Final = ("squeeze_channels", "rd_channels", "rd_ratio")
_BOTTLENECK: Final = ("hidden_channels", "reduction")  # what sets the width of ours
_OURS: Final = {"activation": "act_layer", "scale_activation": "gate_layer"}  # torchvision's words -> ours
_ELSEWHERE: Final = (  # what the libraries tell their own layers, and means nothing to most of ours
    *("act_layer", "gate_layer", "norm_layer", "force_act_layer", "feat_size"),
    *("rd_divisor", "rd_round_fn"),
)


@dataclass(frozen=True)
class Layer:
    """Makes one module of the registry for any number of channels, see `layer`. It pickles and copies.

    Attributes:
        name: the module's.
        arguments: of the module, without its channels.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict, hash=False)

    def __call__(
        self,
        channels: int,
        squeeze_channels: int | None = None,
        /,
        *,
        device: Any = None,
        dtype: Any = None,
        **told: Any,
    ) -> nn.Module:
        """The module.

        Args:
            channels: of the map.
            squeeze_channels: how wide the bottleneck is of the SE that the library would have put there.
            device, dtype: where the module is to be, and of what type.
            **told: what else the library says, see `layer`.

        Raises:
            AttnzooError: an argument is unknown or wrong, or torchvision's initialisation would fail.
        """
        known = registry.signature(self.name).parameters
        given = {_OURS.get(key, key): value for key, value in told.items() if key not in _WIDTHS}
        given = {key: value for key, value in given.items() if key in known or key not in _ELSEWHERE}
        width = _width(channels, squeeze_channels, told)
        setting = next((key for key in _BOTTLENECK if key in known), None)
        if width is not None and setting and not {*_BOTTLENECK} & {*told, *self.arguments}:
            given[setting] = width if setting == "hidden_channels" else max(1, channels // width)
        given |= {key: channels for key in _CHANNELS if key in known}
        module = registry.create(self.name, **{**given, **self.arguments})
        if squeeze_channels is not None and _has_linear_without_bias(module):
            raise AttnzooError(
                f"{self.name}: torchvision will set the bias of every linear layer, and here are some without. Give "
                "layer() bias=True where the module takes it, or put the module into the finished model with "
                "attnzoo.insert."
            )
        return module.to(device=device, dtype=dtype)

    def __repr__(self) -> str:
        said = "".join(f", {key}={value!r}" for key, value in self.arguments.items())
        return f"attnzoo.layer({self.name!r}{said})"


def layer(name: str, **arguments: Any) -> Layer:
    """A callable that makes one module of the registry for the channels it is given.

    For wherever another library takes a class of attention: timm's `attn_layer=` and `se_layer=`, torchvision's
    `se_layer` and other arguments of the kind `Callable[..., nn.Module]`:

        timm.create_model("resnet50", block_args={"attn_layer": attnzoo.layer("eca")})

    The library calls it with the channels, and with what it has to say of the SE that it would have put there:
    - the width of the bottleneck (a second positional argument, `squeeze_channels`, `rd_channels` or `rd_ratio`)
      becomes the module's where it has one (`hidden_channels`, else `reduction`);
    - its activations and normalisation (`act_layer`, `gate_layer`, `norm_layer`, and torchvision's `activation` and
      `scale_activation`) become the module's where it takes them, as does `feat_size`;
    - `device` and `dtype` are where the module is put;
    - any other keyword is an argument of the module, as `attn_kwargs` give it.

    What is said here in `arguments` counts more than what the library says. The networks initialise what they hold
    in their own way; torchvision's, and timm's EfficientNets, set the bias of every linear layer and so take none
    without (`se` with bias=True): `insert` can put such modules into the finished model.

    Args:
        name: a module that keeps the shape of one map (B, C, H, W).
        **arguments: of the module, except its channels.

    Raises:
        AttnzooError: the module is unknown or does not plug in, or an argument is unknown, missing or among those that
            the library gives.
    """
    card = registry.card(name)
    if not card.plug_in or card.carries or card.contract not in ("feature", "conv", "context"):
        raise AttnzooError(
            f"{name}: does not plug into blocks of maps, its contract is {card.contract!r}; layer() takes the plug-in "
            "modules of the contracts 'feature', 'conv' and 'context', see attnzoo.names(plug_in=True)."
        )
    for channels in _CHANNELS:
        if channels in arguments:
            raise AttnzooError(f"{name}: {channels} is given by the block that is built; leave it out of layer().")
    registry.check_arguments(name, arguments, filled=_CHANNELS)
    return Layer(name, arguments)


def _has_linear_without_bias(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Linear) and part.bias is None for part in module.modules())


def _width(channels: int, squeeze_channels: int | None, told: dict[str, Any]) -> int | None:
    """How wide the bottleneck of the library's own layer would be, where it says that."""
    widths = (squeeze_channels, told.get("squeeze_channels"), told.get("rd_channels"))
    said = next((width for width in widths if width is not None), None)
    ratio = told.get("rd_ratio")
    return max(1, round(channels * ratio)) if said is None and ratio is not None else said
