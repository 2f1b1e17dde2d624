"""Who is tracing: some forms serve only a program that leaves this library."""

import torch

_SAYS_SO_OF_COMPILING = torch.__version__ < "2.9"


def exporting() -> bool:
    """Whether torch.export traces the program; torch 2.8 says so of torch.compile, too."""
    return torch.compiler.is_exporting() and not (_SAYS_SO_OF_COMPILING and torch.compiler.is_dynamo_compiling())
