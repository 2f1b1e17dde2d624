"""Decoding one image file of a user: bounded, whole, upright, in RGB; and fitting it to a size."""

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from attnzoo.errors import AttnzooError

if TYPE_CHECKING:
    from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

MAX_PIXELS: Final = 2**24  # a few bytes can claim far more
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_ORIENTATION: Final = 0x0112  # EXIF's tag
_SIXTEEN_BITS: Final = ("I;16", "I;16B", "I;16L", "I;16N")


def decode(content: bytes, where: str) -> Pixels:
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
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as image:
            _check(image, where)
            return np.array(_in_rgb(image))
    except AttnzooError:
        raise
    except UnidentifiedImageError as error:
        raise AttnzooError(f"{where}: expected an image, one of {', '.join(_FORMATS)}, but it is none.") from error
    except Exception as error:  # Pillow's readers raise many kinds on broken bytes
        raise AttnzooError(f"{where}: expected an image, but its bytes cannot be decoded ({error}).") from error


def fit(pixels: Pixels, height: int, width: int) -> Pixels:
    """The image (H, W, 3) as (height, width, 3): resized with antialiasing (bilinear), then cropped to `crop_box`."""
    from PIL import Image

    box = crop_box(pixels.shape[0], pixels.shape[1], height, width)
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, box=box))


def crop_box(image_height: int, image_width: int, height: int, width: int) -> tuple[float, float, float, float]:
    """The largest centred part of an image with the sides' ratio height : width.

    Returns:
        Its left, top, right and bottom edge in pixels of the image, not rounded.
    """
    scale = min(image_height / height, image_width / width)
    left, top = (image_width - scale * width) / 2, (image_height - scale * height) / 2
    return left, top, left + scale * width, top + scale * height


def _check(image: "Image.Image", where: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        raise AttnzooError(f"{where}: expected at most {MAX_PIXELS:,} pixels, got {size}; resize the images.")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise AttnzooError(f"{where}: expected a single image, got {frames} frames; store one frame a file.")
    if image.mode in ("F", "I"):
        raise AttnzooError(f"{where}: expected 8 or 16 bits a channel, got mode {image.mode}; scale the images.")


def _in_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image, ImageOps

    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in _SIXTEEN_BITS:  # Pillow itself would clip everything above 255
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
