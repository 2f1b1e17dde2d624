"""The stages of a network, and their features as maps."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.surgery import Site, sites

_EXTRA_TOKENS = 16  # class, distillation and register tokens before those of the image


@dataclass(frozen=True)
class Grid:
    """Where features lie on the image: `extra` tokens of no place, then height x width places in rows."""

    extra: int
    height: int
    width: int

    @property
    def places(self) -> int:
        """How many."""
        return self.height * self.width

    def cell(self, x: float, y: float) -> int:
        """The place, counted in rows, of a point given as shares of the image's width and height."""
        column = min(int(x * self.width), self.width - 1)
        return min(int(y * self.height), self.height - 1) * self.width + column


def grid_of(shape: tuple[int, ...], ratio: float) -> Grid | None:
    """The grid of maps (B, C, H, W) or tokens (B, N, C) made of an image of that height over width; None if unknown."""
    if len(shape) == 4:
        return Grid(0, shape[2], shape[3])
    return grid_of_tokens(shape[1], ratio) if len(shape) == 3 else None


def grid_of_tokens(number: int, ratio: float) -> Grid | None:
    """The grid of so many tokens, at most 16 of them of no place; None if none has the image's height over width."""
    for extra in range(min(_EXTRA_TOKENS, number - 1) + 1):
        height = max(round(math.sqrt((number - extra) * ratio)), 1)
        width = (number - extra) // height
        if height * width == number - extra and abs(height - width * ratio) < 1:
            return Grid(extra, height, width)
    return None


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes:
        path: the submodule that ends it.
        layout: of its features, see `attnzoo.Site`.
        shape: of its features for one image, without the batch.
    """

    path: str
    layout: str
    shape: tuple[int, ...]

    def as_maps(self, features: Tensor, ratio: float) -> Tensor:
        """Its features as maps (B, C, H, W), tokens of no place left out.

        Raises:
            AttnzooError: they are tokens that lie on no grid of the image's height over width.
        """
        if self.layout == "BCHW":
            return features
        if self.layout == "BHWC":
            return features.permute(0, 3, 1, 2)
        tokens = features.transpose(1, 2) if self.layout == "BCN" else features
        grid = grid_of_tokens(tokens.shape[1], ratio)
        if grid is None:
            raise AttnzooError(
                f"explain: {self.path} gives {tokens.shape[1]} tokens, which lie on no grid of the image; "
                "name other stages."
            )
        return tokens[:, grid.extra :].unflatten(1, (grid.height, grid.width)).permute(0, 3, 1, 2)


def stages_of(model: nn.Module, images: Tensor, at: str | list[str] = "stage") -> tuple[Stage, ...]:
    """The stages in running order.

    Args:
        model: any network of images.
        images: one that it takes, (1, C, H, W).
        at: as in `attnzoo.sites`.

    Raises:
        AttnzooError: there is none.
    """
    try:
        return tuple(Stage(site.path, site.layout, _shape(site)) for site in sites(model, at, images))
    except AttnzooError as error:
        raise AttnzooError(f"explain: stages={at!r}: {error}") from error


def _shape(site: Site) -> tuple[int, ...]:
    first = site.layout in ("BCHW", "BCN")
    return (site.channels, *site.size) if first else (*site.size, site.channels)
