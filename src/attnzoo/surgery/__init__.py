"""Putting modules into other people's models, and taking them out again."""

from attnzoo.surgery.checkpoint import load, save
from attnzoo.surgery.finetuning import param_groups
from attnzoo.surgery.folding import Folded, FoldReport, fold
from attnzoo.surgery.insertion import Report, insert, remove
from attnzoo.surgery.plan import Plan, plan
from attnzoo.surgery.replacement import Replaced, Replacement, replace
from attnzoo.surgery.sites import Site, sites
from attnzoo.surgery.temperature import TemperatureSchedule

__all__ = [
    "FoldReport",
    "Folded",
    "Plan",
    "Replaced",
    "Replacement",
    "Report",
    "Site",
    "TemperatureSchedule",
    "fold",
    "insert",
    "load",
    "param_groups",
    "plan",
    "remove",
    "replace",
    "save",
    "sites",
]
