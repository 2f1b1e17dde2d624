"""The command line: parse, call, print."""

import warnings
from typing import Final

import typer

from attnzoo.cli import catalogue as catalogue
from attnzoo.cli import laboratory as laboratory
from attnzoo.cli.app import app, complain, complain_of_warnings
from attnzoo.errors import AttnzooError

_INTERRUPTED: Final = 130


def run(argv: list[str] | None = None) -> int:
    """Parse and run; give the exit status.

    0 is success, 1 a check or a trial that failed, 2 bad input (one line on stderr), 130 an interruption.
    """
    try:
        with warnings.catch_warnings():
            complain_of_warnings()
            status = typer.main.get_command(app).main(args=argv, prog_name="attnzoo", standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except AttnzooError as error:
        complain(str(error))
        return 2
    except typer.TyperException as error:
        complain(error.format_message() or "no command given; see attnzoo --help")
        return 2
    if status == _INTERRUPTED:  # typer itself turns Ctrl-C into that status
        complain("interrupted; what is finished is kept, and compare continues there when it is run again")
    return status
