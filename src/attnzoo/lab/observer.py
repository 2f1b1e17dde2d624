"""Who is told how a comparison goes."""

from collections.abc import Sequence

from attnzoo.lab.trial import Epoch, Outcome, Trial


class Observer:
    """Told how a comparison goes; does nothing by itself."""

    def planned(self, trials: Sequence[Trial], finished: int, epochs: int) -> None:
        """The trials of the study, how many of them were found finished, and the most epochs of one."""

    def started(self, trial: Trial) -> None:
        """A trial begins, or begins again where the process that ran it died."""

    def epoch(self, trial: Trial, number: int, epoch: Epoch) -> None:
        """An epoch, counted from 1, is over."""

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        """A trial is over and saved."""

    def failed(self, trial: Trial, reason: str) -> None:
        """A trial cannot be finished; the others go on."""

    def matching(self, variant: str) -> None:
        """The plain network is being widened until it equals a variant."""

    def measuring(self) -> None:
        """All trials are there; cost and latency follow."""
