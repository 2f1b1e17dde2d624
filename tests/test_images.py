"""Are users' image files decoded as a viewer shows them, or refused by name?"""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import attnzoo
from attnzoo.lab.data import images
from attnzoo.lab.data.images import decode


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gradient(height: int = 4, width: int = 6) -> np.ndarray:
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def test_plain_pixels_survive() -> None:
    for kind in ("PNG", "BMP", "TIFF"):
        assert np.array_equal(decode(encode(Image.fromarray(gradient()), kind), "here"), gradient())


def test_grey_and_palette_become_rgb() -> None:
    grey = Image.fromarray(gradient()[:, :, 0])
    assert np.array_equal(decode(encode(grey), "here"), np.repeat(gradient()[:, :, :1], 3, axis=2))
    palette = Image.fromarray(gradient()).quantize(64)
    assert np.array_equal(decode(encode(palette), "here"), np.array(palette.convert("RGB")))


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    assert decode(encode(Image.fromarray(values)), "here")[0, :, 0].tolist() == [0, 1, 128, 255]


def test_cmyk_is_converted() -> None:
    found = decode(encode(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG", quality=95), "here")
    assert found[..., 0].min() > 200
    assert found[..., 1:].max() < 60


def test_transparency_lies_on_black() -> None:
    pixels = np.zeros((1, 2, 4), dtype=np.uint8)
    pixels[0] = [[200, 100, 50, 255], [200, 100, 50, 0]]
    assert decode(encode(Image.fromarray(pixels)), "here")[0].tolist() == [[200, 100, 50], [0, 0, 0]]


def test_a_cameras_rotation_is_carried_out() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    content = encode(Image.fromarray(gradient()), "PNG", exif=exif)
    assert np.array_equal(decode(content, "here"), np.rot90(gradient(), -1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an image, one of JPEG, PNG"),
        (b"not an image", "expected an image, one of JPEG, PNG"),
        (encode(Image.fromarray(gradient(64, 64)), "JPEG")[:-200], "cannot be decoded"),
        (encode(Image.fromarray(gradient(64, 64)))[:-60], "cannot be decoded"),
        (
            encode(Image.fromarray(gradient()), "GIF", save_all=True, append_images=[Image.new("RGB", (6, 4), "red")]),
            "expected a single image, got 2 frames",
        ),
        (encode(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), "got mode F"),
        (encode(Image.new("1", (5000, 5000))), "expected at most 16,777,216 pixels, got 5000 x 5000"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(content: bytes, message: str) -> None:
    with pytest.raises(attnzoo.AttnzooError, match=f"^digits.parquet, row 3: .*{message}"):
        decode(content, "digits.parquet, row 3")


def test_the_bound_is_checked_before_pixels_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 4)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    with pytest.raises(attnzoo.AttnzooError, match="at most 4 pixels"):
        decode(encode(Image.fromarray(gradient())), "here")
