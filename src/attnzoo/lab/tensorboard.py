"""The curves of a trial for TensorBoard."""

from pathlib import Path

from attnzoo.errors import AttnzooError
from attnzoo.lab.trial import Epoch, Trial


class Board:
    """TensorBoard files of one trial, `tensorboard/SLUG/` in the study's folder.

    Raises:
        AttnzooError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, trial: Trial) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise AttnzooError(f"tensorboard=True: {error}; pip install 'attnzoo[lab]'.") from error
        self.writer = SummaryWriter(folder / "tensorboard" / trial.slug())

    def write(self, number: int, epoch: Epoch) -> None:
        """Write an epoch's figures at once; a value that is None is left out."""
        values = {
            "loss/train": epoch.train_loss,
            "accuracy/top1": epoch.top1,
            "accuracy/top5": epoch.top5,
            "time/seconds of training": epoch.seconds,
            "energy/joules of training": epoch.joules,
        }
        for name, value in values.items():
            if value is not None:
                self.writer.add_scalar(name, value, number)
        self.writer.flush()
