"""Names of published parameters that several networks share, see `attnzoo.load_reference`."""

from collections.abc import Mapping
from typing import Final

Keys = Mapping[str, str]  # authors' names, regular expressions -> ours

DEEP_STEM: Final = {  # of `resnet.deep_stem`, as torchvision's descendants number it
    r"conv1\.0": "stem.0.conv",
    r"conv1\.1": "stem.0.norm",
    r"conv1\.3": "stem.1.conv",
    r"conv1\.4": "stem.1.norm",
    r"conv1\.6": "stem.2.conv",
    "bn1": "stem.2.norm",
}
POOLED_SHORTCUT: Final = {r"downsample\.1": "shortcut.conv.conv", r"downsample\.2": "shortcut.conv.norm"}


def ahead(keys: Keys | None, usual: Keys) -> dict[str, str]:
    """The usual names after those of `keys`, which so count first."""
    first = keys or {}
    return {**first, **{theirs: ours for theirs, ours in usual.items() if theirs not in first}}
