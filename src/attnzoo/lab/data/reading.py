"""Many image files decoded into one tensor; what is wrong with each broken one is told all at once."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from attnzoo.errors import AttnzooError
from attnzoo.lab.data.images import Pixels, decode, fit
from attnzoo.lab.data.options import Options
from attnzoo.lab.data.sets import Split

MAX_BYTES: Final = 2**28  # of one image file
_NAMED: Final = 10  # images of another size that a message names
_CHUNK: Final = 32  # images decoded at a time
_WORTH_A_THREAD: Final = 2**14  # bytes; threads wait for Python's lock longer than they decode less


@dataclass(frozen=True)
class Source:
    """An image file: where it is, in words, and its bytes or its path; None where there should be bytes."""

    where: str
    content: bytes | Path | None


@dataclass
class Reader:
    """Decodes the images of both splits of a data set to one size.

    Attributes:
        options: image_size, skip_broken and max_gigabytes count here.
        total: images in both splits, for the memory they need.
        shape: (H, W, 3) of all images, once the first is read.
        broken: one sentence for each image that cannot be used.
        misfits: where an image differs in size from the first, and its size.
        lost: class numbers all of whose images in a split are broken.
    """

    options: Options
    total: int
    shape: tuple[int, ...] = ()
    broken: list[str] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)

    def split(self, sources: Iterable[Source], labels: Tensor) -> Split:
        """The images that can be used, as uint8 (N, 3, H, W), with their labels; the others are noted.

        Raises:
            AttnzooError: the images need more memory than allowed.
        """
        pixels = np.empty((0, 0, 0, 3), np.uint8)
        kept: list[int] = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # damaged EXIF beside sound pixels
            for number, (where, image) in enumerate(self._decoded(sources)):
                if isinstance(image, AttnzooError):
                    self.broken.append(str(image))
                elif self._fits(where, image):
                    if not kept:
                        pixels = np.empty((len(labels), *self.shape), np.uint8)
                    pixels[len(kept)] = image
                    kept.append(number)
        self.lost |= set(labels.tolist()) - set(labels[kept].tolist())
        images = torch.from_numpy(pixels[: len(kept)]).permute(0, 3, 1, 2).contiguous()
        return Split(images, labels[kept])

    def check(self) -> None:
        """Raise AttnzooError if images have several sizes, or some are broken and cannot be skipped."""
        if self.broken and not self.options.skip_broken:
            raise AttnzooError(
                f"data: {len(self.broken):,} of {self.total:,} images cannot be used; mend or remove them, or "
                f"leave them out with skip_broken.{_listed(self.broken)}"
            )
        if self.misfits:
            raise AttnzooError(
                f"data: expected {_size(self.shape)} pixels like the first image, but {len(self.misfits):,} of "
                f"{self.total:,} differ; give image_size=N to bring all to N x N.{_listed(self.misfits, _NAMED)}"
            )
        if self.lost:
            raise AttnzooError(
                f"data: all images of class {min(self.lost)} in a split are broken; mend some of them, or remove the "
                f"class.{_listed(self.broken)}"
            )

    def _fits(self, where: str, image: Pixels) -> bool:
        if not self.shape:
            self.shape = image.shape
            check_memory(self.total, image.shape, self.options)
        if image.shape == self.shape:
            return True
        self.misfits.append(f"{where}: {_size(image.shape)}")
        return False

    def _decoded(self, sources: Iterable[Source]) -> Iterator[tuple[str, Pixels | AttnzooError]]:
        """Each image, or what is wrong with it."""
        from PIL import Image

        Image.init()  # so that no two threads load Pillow's formats at once
        rest = iter(sources)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            while chunk := list(islice(rest, _CHUNK)):
                threads = sum(map(_bytes, chunk)) >= _WORTH_A_THREAD * len(chunk)
                images = (pool.map if threads else map)(self._one, chunk)
                yield from zip((source.where for source in chunk), images, strict=True)

    def _one(self, source: Source) -> Pixels | AttnzooError:
        try:
            image = decode(_content(source), source.where)
        except AttnzooError as error:
            return error
        size = self.options.image_size
        return image if size is None else fit(image, size, size)


def check_memory(total: int, shape: Sequence[int], options: Options) -> None:
    """Raise AttnzooError if that many images (H, W, C) take more bytes than allowed."""
    gigabytes = total * int(np.prod(shape, dtype=np.int64)) / 1e9
    if gigabytes > options.max_gigabytes:
        raise AttnzooError(
            f"data: {total:,} images of {_size(shape)} take {gigabytes:.1f} GB of memory, more than "
            f"max_gigabytes={options.max_gigabytes:g}; give a smaller image_size, limit_train, or max_gigabytes="
            f"{gigabytes:.0f} and up."
        )


def _bytes(source: Source) -> int:
    if not isinstance(source.content, Path):
        return len(source.content or b"")
    try:
        return os.path.getsize(source.content)
    except OSError:
        return 0  # reading it will tell why


def _content(source: Source) -> bytes:
    """The bytes of a source, or AttnzooError."""
    if source.content is None:
        raise AttnzooError(
            f"{source.where}: expected a struct with the image file's 'bytes', got none; embed the images."
        )
    if isinstance(source.content, bytes):
        return source.content
    return content_of(source.content)


def content_of(file: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        AttnzooError: the path is no file or cannot be read, or there are above `MAX_BYTES`.
    """
    if os.path.exists(file) and not os.path.isfile(file):  # a pipe would never end
        raise AttnzooError(f"{file}: expected an image file, got something else; leave it out.")
    try:
        if os.path.getsize(file) > MAX_BYTES:
            raise AttnzooError(f"{file}: expected at most {MAX_BYTES:,} bytes, got more; shrink the image.")
        return file.read_bytes()
    except OSError as error:
        raise AttnzooError(f"{file}: expected an image file, but it cannot be read ({error}).") from error


def _listed(sentences: Sequence[str], most: int | None = None) -> str:
    """Each on a line of its own, all or the first of them."""
    told = [f"\n  {sentence}" for sentence in sentences[:most]]
    more = f"\n  and {len(sentences) - len(told):,} more" if len(told) < len(sentences) else ""
    return "".join(told) + more


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"
