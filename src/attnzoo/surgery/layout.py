"""Where features have their channels, and handing them to a module that has them elsewhere."""

from typing import Final

from torch import Tensor

LAYOUTS: Final = {
    "BCHW": "maps (B, C, H, W)",
    "BHWC": "maps (B, H, W, C)",
    "BNC": "tokens (B, N, C)",
    "BCN": "tokens (B, C, N)",
}
_TAKES: Final = {"feature": "BCHW", "tokens": "BNC"}  # what modules of a contract take
_CONVERSIONS: Final = {("BHWC", "BCHW"), ("BHWC", "BNC"), ("BCN", "BNC")}


def layout_of(dims: int, axis: int) -> str | None:
    """The layout of features with so many dimensions and the channels in one of them; None where there is no name."""
    return {(4, 1): "BCHW", (4, 3): "BHWC", (3, 2): "BNC", (3, 1): "BCN"}.get((dims, axis))


def conversion(given: str, taken: str) -> str | None:
    """What turns features of a layout into another, as `converted` takes it; None where nothing does."""
    if given == taken:
        return ""
    return f"{given}->{taken}" if (given, taken) in _CONVERSIONS else None


def taken_by(contract: str) -> str:
    """The layout of what a module of a contract takes."""
    return _TAKES["tokens" if contract == "tokens" else "feature"]


def conversions(contract: str) -> list[str]:
    """All that hand something to a module of a contract."""
    taken = taken_by(contract)
    return [how for how in (conversion(given, taken) for given in LAYOUTS) if how is not None]


def converted(x: Tensor, how: str) -> Tensor:
    """Features in the layout that a module takes, by a `conversion`."""
    if how == "BHWC->BCHW":
        return x.permute(0, 3, 1, 2)
    if how == "BHWC->BNC":
        return x.flatten(1, 2)
    return x.transpose(1, 2) if how else x


def restored(y: Tensor, how: str, like: Tensor) -> Tensor:
    """What a module made of `converted` features, in the layout of those before."""
    if how == "BHWC->BCHW":
        return y.permute(0, 2, 3, 1).contiguous()
    if how == "BHWC->BNC":
        return y.reshape(like.shape)
    return y.transpose(1, 2).contiguous() if how else y
