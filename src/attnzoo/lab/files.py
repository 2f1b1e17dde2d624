"""Files that are whole or absent: written beside their place, flushed to the disk, then put there in one go."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError

from attnzoo.errors import AttnzooError
from attnzoo.surgery.drafts import draft_of

DRAFT: Final = ".draft"
DAMAGED: Final = (  # what reading a file that may hold anything raises
    OSError,
    SafetensorError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by a file that holds `content`, or leave it as it was.

    Raises:
        AttnzooError: the file cannot be written.
    """
    raw = content.encode() if isinstance(content, str) else content
    put(path, lambda draft: draft.write_bytes(raw))


def put(path: Path, write: Callable[[Path], object]) -> None:
    """Replace `path` by what `write` makes at the path that it is given, or leave it as it was.

    Raises:
        AttnzooError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_of(path, DRAFT) as draft:
            write(draft)
        _flush_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise AttnzooError(
            f"{path}: cannot be written ({error}); free the disk or choose another out, then run again. "
            "What was finished before is kept."
        ) from error


def refuse_other(file: Path, there: Mapping[str, Any], now: Mapping[str, Any], remedy: str) -> None:
    """Raise AttnzooError unless a file was made with what is wanted now; `remedy` is what may be deleted instead."""
    for name in [*now, *there]:
        if there.get(name) != now.get(name):
            raise AttnzooError(
                f"{file}: made with {name}={there.get(name)!r}, now {name}={now.get(name)!r}. "
                f"Choose another --out, or delete the {remedy}."
            )


def sweep_drafts(folder: Path) -> None:
    """Remove what a killed process had half written in a folder and those directly below it."""
    for pattern in (f".*{DRAFT}", f"*/.*{DRAFT}"):
        for draft in folder.glob(pattern):
            draft.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power failure, where folders can be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
