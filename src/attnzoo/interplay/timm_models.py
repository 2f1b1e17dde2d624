"""Our networks in timm's registry."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from torch import Tensor, nn

from attnzoo import registry
from attnzoo.errors import AttnzooError
from attnzoo.networks.base import ImageNetwork, Network

PREFIX: Final = "attnzoo_"
default_cfgs: dict[str, Any] = {}  # where timm looks for what is known of the entrypoints of this file
__all__ = ["register_in_timm"]  # timm adds the entrypoints


def register_in_timm() -> list[str]:
    """Enter our classifiers into timm's registry, `se_resnet50` as `attnzoo_se_resnet50`, from now on in this process.

    `timm.create_model` and `timm.list_models` know them then, and so does what builds on timm:

        timm.create_model("attnzoo_se_resnet50", num_classes=10, in_chans=1)
        timm.create_model("attnzoo_se_resnet50", features_only=True, out_indices=(2, 3, 4))

    `features_only` gives a list of maps in the order of the network, told by a `feature_info` of timm; what lies
    behind the last of them is left out. `num_classes=0` leaves out the classifier. The networks' own arguments
    are taken by their names. None has pretrained weights to be had: see `attnzoo.load_reference`. Registering
    again does nothing.

    Returns:
        The names, sorted.

    Raises:
        AttnzooError: timm is not installed. The networks' entrypoints raise it for an argument that they do not take,
            for pretrained=True, and for out_indices that they do not have.
    """
    try:
        import timm
        from timm.models import generate_default_cfgs, register_model
    except ImportError as error:
        raise AttnzooError("register_in_timm: timm is not installed; pip install 'attnzoo[lab]' brings it.") from error
    entered = []
    for name in registry.networks():
        if registry.card(name).task != "classification":  # type: ignore[attr-defined]
            continue
        entry = PREFIX + name
        entered.append(entry)
        if not timm.is_model(entry):
            default_cfgs.update(generate_default_cfgs({entry: _configuration(name)}))
            made = _entrypoint(name)
            setattr(sys.modules[__name__], entry, made)
            register_model(made)
    return sorted(entered)


def _entrypoint(name: str) -> Callable[..., nn.Module]:
    """What timm calls to build a network."""

    def create(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: dict[str, Any] | None = None,
        cache_dir: Any = None,  # noqa: ARG001 - part of timm's protocol
        num_classes: int | None = None,
        in_chans: int = 3,
        features_only: bool = False,
        out_indices: int | Sequence[int] | None = None,
        device: Any = None,
        dtype: Any = None,
        **arguments: Any,
    ) -> nn.Module:
        from timm.models import resolve_pretrained_cfg

        if pretrained:
            raise AttnzooError(
                f"{PREFIX}{name}: has no pretrained weights; load those of the authors with attnzoo.load_reference."
            )
        known = registry.signature(name).parameters
        given = {"image_size" if key == "img_size" else key: value for key, value in arguments.items()}
        given = {key: value for key, value in given.items() if key in known or _says_something(key, value)}
        classes = {} if not num_classes else {"num_classes": num_classes}
        network: Any = registry.create(name, **classes, in_channels=in_chans, features_only=features_only, **given)
        configuration = resolve_pretrained_cfg(PREFIX + name, pretrained_cfg, pretrained_cfg_overlay).to_dict()
        if features_only:
            _take(network, out_indices)
            del configuration["num_classes"], configuration["classifier"]
        elif num_classes == 0:
            _behead(network)
        elif isinstance(network, Network):
            configuration["classifier"] = "fc"
        network.pretrained_cfg = network.default_cfg = configuration
        return network.to(device=device, dtype=dtype)

    create.__name__ = create.__qualname__ = PREFIX + name
    create.__doc__ = f"`{name}` of attnzoo, see `register_in_timm`."
    return create


def _says_something(key: str, value: Any) -> bool:
    """Whether an argument asks for more than what timm's scripts pass by default."""
    return bool(value) and (key, value) != ("global_pool", "avg")


def _take(network: ImageNetwork, out_indices: int | Sequence[int] | None) -> None:
    """Let a network that gives all its maps give only some of them, told as timm tells it."""
    from timm.models import FeatureInfo

    levels = network.feature_info.levels
    count = len(levels)
    wanted: Any = range(count) if out_indices is None else out_indices
    if isinstance(wanted, int):
        wanted = range(count)[-wanted:] if 0 < wanted <= count else ()
    if not isinstance(wanted, Sequence) or not wanted or not {*wanted} <= {*range(-count, count)}:
        raise AttnzooError(
            f"{network.called}: out_indices={out_indices!r} are not among its {count} maps, 0 to {count - 1}; "
            "negative ones count from the last, and a number means the last so many."
        )
    indices = tuple(sorted({i % count for i in wanted}))
    if isinstance(network, Network):
        network.end_at(levels[indices[-1]].module)
    else:
        network.register_forward_hook(partial(_chosen, indices))
    told = [{"num_chs": level.channels, "reduction": level.reduction, "module": level.module} for level in levels]
    info: Any = FeatureInfo(told, indices)
    network.feature_info = info


def _chosen(indices: tuple[int, ...], _: nn.Module, __: Any, maps: list[Tensor]) -> list[Tensor]:
    return [maps[i] for i in indices]


def _behead(network: ImageNetwork) -> None:
    """Let a network give what its classifier would see."""
    if not isinstance(network, Network):
        raise AttnzooError(f"{network.called}: num_classes=0 is for networks that end with one linear layer.")
    network.fc = nn.Identity()  # type: ignore[assignment]
    network.num_classes = 0


def _configuration(name: str) -> dict[str, Any]:
    """What timm's `pretrained_cfg` tells of a network, without weights."""
    card: Any = registry.card(name)
    known = registry.signature(name).parameters
    side = card.image_size
    least = {} if card.min_size == 1 else {"min_input_size": (3, card.min_size, card.min_size)}
    return {
        "input_size": (3, side, side),
        **least,
        "fixed_input_size": "image_size" in known,
        "num_classes": known["num_classes"].default,
        "paper_name": card.paper,
        "origin_url": card.url,
        "description": card.summary,
        "license": card.source_license,
    }
