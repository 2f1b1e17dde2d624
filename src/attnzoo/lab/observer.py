"""Who is told how a comparison goes."""

from collections.abc import Collection, Mapping

from attnzoo.lab.trial import Epoch, Outcome, Trial


class Observer:
    """Told how a comparison goes; does nothing by itself."""

    def planned(self, epochs: Mapping[Trial, int], finished: Collection[Trial]) -> None:
        """The trials of the study with how many epochs each takes, and those that were found finished."""

    def started(self, trial: Trial) -> None:
        """A trial begins, or begins again where the process that ran it died."""

    def died(self, trial: Trial) -> None:
        """The process that trained a trial died; another goes on from its last epoch."""

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
