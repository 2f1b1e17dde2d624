"""Files that come into their place whole, or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def draft_of(target: Path, ending: str = "") -> Iterator[Path]:
    """A hidden file beside the target, to be written within; flushed, it then takes the target's place in one go.

    Its name ends in `ending`. It gets the mode that the user's umask leaves, though what writes it may be stricter, and
    is gone where writing fails.
    """
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}{ending}")
    try:
        draft.touch()
        mode = draft.stat().st_mode
        yield draft
        draft.chmod(mode)
        with draft.open("r+b") as file:  # Windows flushes only what may be written
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        with suppress(OSError):  # what cannot be written can be impossible to remove, too
            draft.unlink(missing_ok=True)
