"""The command `attnzoo`, also `python -m attnzoo`."""

import sys


def main() -> int:
    """Run the command line, or say what to install for it."""
    try:
        from attnzoo.cli import run
    except ModuleNotFoundError as error:
        print(f"attnzoo: the command line needs {error.name}: pip install 'attnzoo[lab]'", file=sys.stderr)
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
