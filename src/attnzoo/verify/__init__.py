"""The deployment matrix: every module through every gate its users will put it through."""

from attnzoo.verify import arguments as arguments  # fills the list of checks
from attnzoo.verify import faithful as faithful  # fills the list of checks
from attnzoo.verify import graphs as graphs  # fills the list of checks
from attnzoo.verify import inputs as inputs  # fills the list of checks
from attnzoo.verify import life as life  # fills the list of checks
from attnzoo.verify import numbers as numbers  # fills the list of checks
from attnzoo.verify import shapes as shapes  # fills the list of checks
from attnzoo.verify.check import CHECKS, Check, Failure, Profile
from attnzoo.verify.matrix import Cell, Matrix, unknown_exceptions, verify
from attnzoo.verify.record import as_json, read

__all__ = ["CHECKS", "Cell", "Check", "Failure", "Matrix", "Profile", "as_json", "read", "unknown_exceptions", "verify"]
