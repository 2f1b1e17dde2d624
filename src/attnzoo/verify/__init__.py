"""The deployment matrix: every module through every gate its users will put it through."""

from attnzoo.verify import arguments, faithful, graphs, life, numbers, shapes  # noqa: F401 (fill the list of checks)
from attnzoo.verify.check import CHECKS, Check, Failure
from attnzoo.verify.matrix import Cell, Matrix, unknown_exceptions, verify

__all__ = ["CHECKS", "Cell", "Check", "Failure", "Matrix", "unknown_exceptions", "verify"]
