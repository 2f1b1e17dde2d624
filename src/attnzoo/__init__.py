"""Attention and plug-and-play modules for computer vision: faithful, pluggable, fairly compared."""

from attnzoo import modules as _modules  # fills the registry
from attnzoo.errors import AttnzooError
from attnzoo.lab.cost import Cost, cost
from attnzoo.recording import record
from attnzoo.reference import load_reference
from attnzoo.registry import Card, Paper, card, create, names, register
from attnzoo.surgery import Report, Site, insert, remove, sites

__version__ = "0.1.0"
__all__ = [
    "AttnzooError",
    "Card",
    "Cost",
    "Paper",
    "Report",
    "Site",
    "card",
    "cost",
    "create",
    "insert",
    "load_reference",
    "names",
    "record",
    "register",
    "remove",
    "sites",
]
del _modules
