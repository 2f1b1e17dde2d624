"""Putting modules into other people's models, and taking them out again."""

from attnzoo.surgery.folding import Folded, FoldReport, fold
from attnzoo.surgery.insertion import Report, insert, remove
from attnzoo.surgery.replacement import Replaced, Replacement, replace
from attnzoo.surgery.sites import Site, sites
from attnzoo.surgery.temperature import TemperatureSchedule

__all__ = [
    "FoldReport",
    "Folded",
    "Replaced",
    "Replacement",
    "Report",
    "Site",
    "TemperatureSchedule",
    "fold",
    "insert",
    "remove",
    "replace",
    "sites",
]
