"""Heads, and weights for their samples."""

from attnzoo.modules.head import ba2m as ba2m
