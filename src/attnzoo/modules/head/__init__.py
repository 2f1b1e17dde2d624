"""Heads, and weights for their samples."""

from attnzoo.modules.head import ba2m as ba2m
from attnzoo.modules.head import csra as csra
from attnzoo.modules.head import interflow as interflow
