"""Labelled images for fair comparisons: loaded once, kept as bytes, in two fixed splits."""

import os
from pathlib import Path
from typing import Final

from attnzoo import checks
from attnzoo.errors import AttnzooError
from attnzoo.lab.data import cifar, digits, folder, parquet
from attnzoo.lab.data.options import Options
from attnzoo.lab.data.sets import Data, Split, balanced

__all__ = ["Data", "Split", "balanced", "load"]

_KNOWN: Final = "use 'digits', 'cifar10', 'cifar100', 'cifar10:DIR', 'cifar100:DIR', 'parquet:DIR' or 'folder:DIR'"


def load(
    spec: str,
    *,
    limit_train: int | None = None,
    limit_test: int | None = None,
    image_size: int | None = None,
    skip_broken: bool = False,
    max_gigabytes: float = 4.0,
    root: str | Path | None = None,
) -> Data:
    """Load a data set into memory, a byte for every channel of a pixel.

    - `digits`: the 1,797 handwritten digits of scikit-learn, see `attnzoo.lab.data.digits`.
    - `cifar10`, `cifar100`: downloaded once into `root`; or `cifar10:DIR` with a folder that holds them already.
    - `parquet:DIR`: Parquet files in the hub's layout, see `attnzoo.lab.data.parquet`.
    - `folder:DIR`: `train/CLASS/*` and `test/CLASS/*` (or `val`), see `attnzoo.lab.data.folder`.

    Args:
        spec: which data.
        limit_train, limit_test: keep that many images of a split, the first of each class in turn;
            None keeps all.
        image_size: N makes the images of `parquet` and `folder` N x N: the largest centred square, resized
            with antialiasing. None takes them as they are; they must then share one size.
        skip_broken: leave out images that cannot be used, and name them in `Data.skipped`.
        max_gigabytes: refuse images that take more memory (10**9 bytes).
        root: where downloads are kept; None is the environment's ATTNZOO_DATA, or else `~/.cache/attnzoo`.

    Raises:
        AttnzooError: an unknown spec, an option out of range or that the data has no use for, files that do not
            hold labelled images of one size, too many of them, or any broken image: the message names each.
    """
    options = Options(limit_train, limit_test, image_size, skip_broken, max_gigabytes, root)
    for name, number in (("limit_train", limit_train), ("limit_test", limit_test), ("image_size", image_size)):
        if number is not None:
            checks.positive("data", **{name: number})
    checks.above_zero("data", max_gigabytes=max_gigabytes)
    kind, _, place = spec.partition(":")
    if image_size is not None and kind not in ("parquet", "folder"):
        raise AttnzooError(f"data: {kind} has images of one size already; leave out image_size.")
    if spec == "digits":
        return digits.read(options)
    if spec in cifar.SETS:
        return cifar.SETS[spec].fetch(options)
    readers = {name: one.read for name, one in cifar.SETS.items()} | {"parquet": parquet.read, "folder": folder.read}
    if kind in readers and place:
        return readers[kind](Path(os.path.expanduser(place)), options)
    raise AttnzooError(f"data: {spec!r} is unknown; {_KNOWN}.")
