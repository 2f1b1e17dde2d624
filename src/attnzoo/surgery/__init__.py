"""Putting modules into other people's models, and taking them out again."""

from attnzoo.surgery.insertion import Report, insert, remove
from attnzoo.surgery.sites import Site, sites

__all__ = ["Report", "Site", "insert", "remove", "sites"]
