"""Moved to attnzoo.verify.vectors."""

from attnzoo.verify.vectors import *  # noqa: F403
