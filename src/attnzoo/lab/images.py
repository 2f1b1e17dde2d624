"""Decoding one image file of a user: bounded, whole, upright, in RGB."""

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from attnzoo.errors import AttnzooError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS: Final = 2**24  # a few bytes can claim far more
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_SIXTEEN_BITS: Final = ("I;16", "I;16B", "I;16L", "I;16N")


def decode(content: bytes, where: str) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """The image as (H, W, 3).

    CMYK, palettes and 16-bit greys are converted, transparency is laid on black, and a camera's rotation (EXIF) is
    carried out.

    Args:
        content: of a JPEG, PNG, WebP, BMP, GIF or TIFF file.
        where: the file and row, for messages.

    Raises:
        AttnzooError: the bytes are no such file or cut short, the image is above `MAX_PIXELS`, holds several
            frames, or has numbers that do not fit 16 bits.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as image:
            _check(image, where)
            return np.array(_in_rgb(image))
    except AttnzooError:
        raise
    except Exception as error:  # Pillow's readers raise many kinds on broken bytes
        raise AttnzooError(f"{where}: expected an image, but its bytes cannot be decoded ({error}).") from error


def _check(image: "Image.Image", where: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        raise AttnzooError(f"{where}: expected at most {MAX_PIXELS:,} pixels, got {size}; resize the images.")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise AttnzooError(f"{where}: expected a single image, got {frames} frames; store one frame a row.")
    if image.mode in ("F", "I"):
        raise AttnzooError(f"{where}: expected 8 or 16 bits a channel, got mode {image.mode}; scale the images.")


def _in_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in _SIXTEEN_BITS:  # Pillow itself would clip everything above 255
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image.convert("RGB")
