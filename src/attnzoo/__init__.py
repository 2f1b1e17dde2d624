"""Attention and plug-and-play modules for computer vision: faithful, pluggable, fairly compared."""

from attnzoo import modules as _modules  # fills the registry
from attnzoo.errors import AttnzooError
from attnzoo.lab.cost import Cost, cost
from attnzoo.recording import record
from attnzoo.reference import load_reference
from attnzoo.registry import Card, Paper, card, create, names, register
from attnzoo.surgery import (
    FoldReport,
    Replacement,
    Report,
    Site,
    TemperatureSchedule,
    fold,
    insert,
    remove,
    replace,
    sites,
)

__version__ = "0.1.0"
__all__ = [
    "AttnzooError",
    "Card",
    "Cost",
    "FoldReport",
    "Paper",
    "Replacement",
    "Report",
    "Site",
    "TemperatureSchedule",
    "card",
    "cost",
    "create",
    "fold",
    "insert",
    "load_reference",
    "names",
    "record",
    "register",
    "remove",
    "replace",
    "sites",
]
del _modules
