"""The checkpoint of a trial under way: written after every epoch, whole or absent, read without unpickling."""

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from attnzoo.errors import AttnzooError
from attnzoo.lab.files import refuse_other, write_atomically

SET_ASIDE: Final = ".damaged"  # what is added to the name of a damaged file
_MARK: Final = b"attnzoo checkpoint 1\n"
_DIGEST: Final = hashlib.sha256().digest_size


class Checkpoint:
    """A file that holds the state of one trial, and what that trial was made with.

    Args:
        path: of the file.
        made: all that decides the trial's numbers, flat, of JSON's own types.
    """

    def __init__(self, path: Path, made: Mapping[str, Any]) -> None:
        self.path = path
        self.made = dict(made)

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file in one go: tensors, numbers, words, lists and dictionaries of them.

        Raises:
            AttnzooError: it cannot be written.
        """
        buffer = io.BytesIO()
        torch.save({"made": self.made, "state": dict(state)}, buffer)
        raw = buffer.getvalue()
        write_atomically(self.path, _MARK + hashlib.sha256(raw).digest() + raw)

    def load(self) -> dict[str, Any] | None:
        """The state, on the CPU; None where there is none.

        A damaged file is set aside as NAME.damaged, with a warning, and counts as none.

        Raises:
            AttnzooError: the file cannot be read, or belongs to a trial made with something else.
        """
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AttnzooError(f"{self.path}: cannot be read ({error}); delete it and run again.") from error
        head, body = raw[: len(_MARK) + _DIGEST], raw[len(_MARK) + _DIGEST :]
        if head != _MARK + hashlib.sha256(body).digest():
            self._set_aside()
            return None
        page = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        refuse_other(self.path, page["made"], self.made, "file")
        return page["state"]

    def _set_aside(self) -> None:
        aside = self.path.with_name(f"{self.path.name}{SET_ASIDE}")
        self.path.replace(aside)
        warnings.warn(
            f"{self.path}: the checkpoint is damaged, so its trial starts again; "
            f"it was set aside as {aside.name}, delete that when you like.",
            stacklevel=2,
        )
