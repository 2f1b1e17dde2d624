"""Attention and plug-and-play modules for computer vision: faithful, pluggable, fairly compared."""

from attnzoo import modules as _modules  # fills the registry, as do the networks
from attnzoo import networks as _networks
from attnzoo.errors import AttnzooError
from attnzoo.interplay import Layer, layer, register_in_timm
from attnzoo.lab.cost import Cost, cost
from attnzoo.networks.branched import Branched
from attnzoo.recording import record
from attnzoo.reference import load_reference
from attnzoo.registry import Card, NetworkCard, Paper, card, create, names, networks, register, register_network
from attnzoo.surgery import (
    FoldReport,
    Plan,
    Replacement,
    Report,
    Site,
    TemperatureSchedule,
    fold,
    insert,
    load,
    param_groups,
    plan,
    remove,
    replace,
    save,
    sites,
)

__version__ = "0.1.0"
__all__ = [
    "AttnzooError",
    "Branched",
    "Card",
    "Cost",
    "FoldReport",
    "Layer",
    "NetworkCard",
    "Paper",
    "Plan",
    "Replacement",
    "Report",
    "Site",
    "TemperatureSchedule",
    "card",
    "cost",
    "create",
    "fold",
    "insert",
    "layer",
    "load",
    "load_reference",
    "names",
    "networks",
    "param_groups",
    "plan",
    "record",
    "register",
    "register_in_timm",
    "register_network",
    "remove",
    "replace",
    "save",
    "sites",
]
del _modules, _networks
