"""From a trained network and image files to one file with a figure."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attnzoo.errors import AttnzooError
from attnzoo.lab.explain.explanation import explain
from attnzoo.lab.explain.pictures import Picture, Point, read
from attnzoo.lab.explain.runs import open_run
from attnzoo.lab.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MADE_BY: Final = "attnzoo explain"
_DOTS: Final = 160  # an inch
# What says in a file of each kind that we made it; and no date, so that the same figure is the same file.
_METADATA: Final[dict[str, dict[str, Any]]] = {
    "png": {"Software": _MADE_BY},
    "svg": {"Creator": _MADE_BY, "Date": None},
    "pdf": {"Creator": _MADE_BY, "CreationDate": None},
}


@dataclass(frozen=True)
class Drawn:
    """What came of it: the file, and why images were left out."""

    out: Path
    left_out: tuple[str, ...]


def draw(
    run: Path,
    images: Sequence[Path],
    *,
    out: Path,
    module: str | None = None,
    seed: int | None = None,
    points: Sequence[Point] = (),
    **options: Any,
) -> Drawn:
    """Explain images with a network that a study trained, in one figure.

    Images that cannot be read are left out, each with its reason; the others are drawn.

    Args:
        run, module, seed: the network, see `runs.open_run`.
        images: the files.
        out: the figure, a PNG, SVG or PDF by its suffix; a figure made by this function is replaced.
        points: pixels of every image, from its left upper corner, whose affinities are wanted.
        **options: of `explain`: target, stages, every, heads, parts, cam, cam_stages.

    Raises:
        AttnzooError: a wrong argument, an `out` that holds something else, or no image can be read.
    """
    _check_out(out)
    chosen = open_run(run, module, seed)
    about = chosen.trained.about
    pictures, left_out = _read(images, about.shape)
    explanations = [
        explain(
            chosen.trained.model,
            picture.pixels,
            mean=about.mean,
            std=about.std,
            without=chosen.plain,
            without_is=chosen.plain_is,
            class_names=about.class_names,
            points=[picture.point(x, y) for x, y in points],
            title=picture.path.name,
            **options,
        )
        for picture in pictures
    ]
    from attnzoo.lab.explain.drawing import figure

    save(figure(explanations), out)
    return Drawn(out, tuple(left_out))


def save(drawn: "Figure", out: Path) -> None:
    """Write a figure as its suffix says; a figure that is there already is exchanged in one go.

    Raises:
        AttnzooError: the suffix is none of png, svg and pdf, `out` holds something else, or it cannot be written.
    """
    from matplotlib import rc_context

    kind = _check_out(out)
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "attnzoo"}):
        drawn.savefig(content, format=kind, dpi=_DOTS, metadata=_METADATA[kind])
    write_atomically(out, content.getvalue())


def _read(images: Sequence[Path], shape: Sequence[int]) -> tuple[list[Picture], list[str]]:
    """The images that can be read, and what is wrong with the others."""
    pictures: list[Picture] = []
    wrong: list[str] = []
    for path in images:
        try:
            pictures.append(read(path, shape))
        except AttnzooError as error:
            wrong.append(str(error))
    if not pictures:
        raise AttnzooError(" ".join(wrong) or "explain: expected an image or more, got none.")
    return pictures, wrong


def _check_out(out: Path) -> str:
    """The kind of file that `out` is to be."""
    kind = out.suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        raise AttnzooError(f"--out={out}: expected a file .{', .'.join(_METADATA)}, got {out.suffix or 'no suffix'!r}.")
    try:
        if out.exists() and not (out.is_file() and _MADE_BY.encode() in out.read_bytes()):
            raise AttnzooError(f"--out={out}: is there, but no figure of attnzoo explain; choose another name.")
    except OSError as error:
        raise AttnzooError(f"--out={out}: cannot be read ({error}); choose another name.") from error
    return kind
